"""What a person runs: one module a command, started as ``python -m commands.NAME``. No stage
depends on them."""
