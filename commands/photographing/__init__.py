"""The library of `commands.photographs`: what happens before the run."""
