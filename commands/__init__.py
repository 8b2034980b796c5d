"""What a person runs: one module a command, started as ``python -m commands.NAME``. No stage
depends on them."""

import stages  # noqa: F401  (before NumPy: it sets the number of OpenBLAS's threads)
