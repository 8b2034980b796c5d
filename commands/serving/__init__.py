"""The library of `commands.serve`: reading requests within limits, batching, metrics, and the
application."""
