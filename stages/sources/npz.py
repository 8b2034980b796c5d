"""Read arrays of an ``.npz`` file.

An array that takes a few MB in the file may unpack to any number of bytes, so that its header is
read, and can be checked, before its content. Objects, which can run code, are refused.
"""

import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from stages.runtime.errors import UserError
from stages.sources.opening import METHODS, open_zip, reading

MEMBERS = 1000  # largest number of arrays in a file
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
HEADER = 1 << 14  # bytes; numpy refuses headers beyond 10,000, but reads them first


@dataclass
class Header:
    """The header of an array."""

    shape: tuple[int, ...]
    fortran: bool  # Fortran order: the first index changes fastest
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_headers(path: Path, wanted: Container[str]) -> dict[str, Header | None]:
    """The headers of the `wanted` arrays in the file, by name; None for its others."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged, or not an .npz file")
    with reading(path), open_zip(path, MEMBERS) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
    headers = {}
    for name in names:
        if name in wanted:
            with open_array(path, name) as (_, header):
                headers[name] = header
        else:
            headers[name] = None
    return headers


@contextmanager
def open_array(path: Path, name: str) -> Iterator[tuple[Any, Header]]:
    """The file of an array inside the archive, positioned at its first value, and its header."""
    with reading(path), open_zip(path, MEMBERS) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type not in METHODS:
            raise UserError(f"{path}: {name} is not packed as numpy.savez_compressed packs it")
        with archive.open(info) as file:
            start = BytesIO(file.read(HEADER))
            version = np.lib.format.read_magic(start)
            if version not in READERS:
                raise UserError(
                    f"{path}: {name} is in version {version} of the .npy format: save it with "
                    "numpy.savez"
                )
            header = Header(*READERS[version](start))
            if header.dtype.hasobject:
                raise UserError(
                    f"{path}: {name} holds Python objects, which can run code when they are read: "
                    "save it as an array of numbers or text"
                )
            if min(header.shape, default=0) < 0:
                raise UserError(f"{path}: {name} announces the shape {header.shape}")
            file.seek(start.tell())
            yield file, header


def read_whole(path: Path, name: str) -> np.ndarray:
    """Read an array whose size the header has shown to be within bounds."""
    with open_array(path, name) as (file, header):
        content = file.read(header.bytes + 1)  # one more: the checksum is verified at the end
        if len(content) != header.bytes:
            raise UserError(f"{path}: {name} is shorter or longer than its header says")
        order = "F" if header.fortran else "C"
        return np.frombuffer(content, header.dtype).reshape(header.shape, order=order)


def read_uint8(file: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Read the next bytes of a file as uint8 of this shape. Raises `UserError` if the file ends
    early."""
    content = file.read(int(np.prod(shape)))
    if len(content) != np.prod(shape):
        raise UserError(f"{where} ends early: it is cut off, or damaged")
    return np.frombuffer(content, np.uint8).reshape(shape)
