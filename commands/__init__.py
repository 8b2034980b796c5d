"""The commands that a person runs: one module each, started as ``python -m commands.NAME``. No
stage depends on them."""

import importlib.util
import sys

import stages  # noqa: F401  (before NumPy: it sets the number of OpenBLAS threads)

if not importlib.util.find_spec("pydantic"):
    sys.exit(
        f"error: {sys.executable} lacks the project's packages: run `make setup` in the project's "
        "folder, then `source .venv/bin/activate`"
    )
