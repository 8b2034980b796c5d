"""What people run: one module per command, started as ``python -m commands.NAME``. No stage imports
them."""
