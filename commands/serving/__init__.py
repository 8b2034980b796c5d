"""What serve is made of: reading requests within limits, batching, metrics, and the application."""
