"""Arrays on disk that are written as memory maps."""

import os
from pathlib import Path

import numpy as np


def create(path: Path, dtype: np.typing.DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """A new ``.npy`` file of zeros at `path`, as a memory map to write to. Its space on the disk is
    reserved where the system can: a full disk is an `OSError` now, and not the death of the process
    at some value."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
