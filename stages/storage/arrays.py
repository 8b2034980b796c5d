"""Create arrays on disk that are written through memory maps."""

import os
from pathlib import Path

import numpy as np


def create(path: Path, dtype: np.typing.DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """Create an ``.npy`` file of zeros at `path`, and return it as a writable memory map. Its disk
    space is reserved if the system supports it, so that a full disk raises `OSError` here, and does
    not kill the process during a later write."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
