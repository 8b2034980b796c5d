"""Data sets in an ``.npz`` file with the arrays of ``keras.datasets``: x_train and y_train,
optionally x_test and y_test, x_val and y_val, and class_names.

An array that takes a few MB in the file may unpack to any number of bytes. So the headers of all
arrays are read first and compared with ``download.limits``; then the labels, and the images in
chunks.
"""

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.runtime.errors import UserError
from stages.runtime.text import LONGEST_NAME, join_names, printable
from stages.sources.chunks import Arrays, choose_chunk_size, refuse_large
from stages.sources.opening import METHODS, open_zip, reading

if TYPE_CHECKING:
    from stages.params.schema import Limits

PARTS = ("train", "val", "test")  # in the order of the images
MEMBERS = 1000  # largest number of arrays in a file
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
HEADER = 1 << 14  # bytes; numpy refuses headers beyond 10,000, but reads them first
WHOLE = 1 << 28  # size limit of an array in Fortran order, which is read whole


@dataclass
class Header:
    """The header of an array."""

    shape: tuple[int, ...]
    fortran: bool  # Fortran order: the first index changes fastest
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_npz(path: Path, limits: "Limits") -> Arrays:
    """Check the file, and read the labels; the images are read as the chunks are consumed, one at a
    time. Raises `UserError` naming the array that is missing or invalid."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged, or not an .npz file")
    headers = read_headers(path)
    # without test arrays all images are for training; the stage split takes the other parts from it
    parts = [part for part in PARTS if part == "train" or {f"x_{part}", f"y_{part}"} & {*headers}]
    if missing := [
        name for part in parts for name in (f"x_{part}", f"y_{part}") if name not in headers
    ]:
        raise UserError(
            f"{path} lacks {', '.join(missing)}; it holds "
            f"{printable(', '.join(headers)) or 'nothing'}"
        )
    shapes = [check_images(headers[f"x_{part}"], f"{path}: x_{part}") for part in parts]
    for part, shape in zip(parts, shapes):
        if shape[1:] != shapes[0][1:]:
            raise UserError(
                f"{path}: images of x_train are {shapes[0][1:]}, of x_{part} {shape[1:]}: they "
                "must agree"
            )
    shape = (sum(count for count, *_ in shapes), *shapes[0][1:])
    refuse_large(shape, limits, f"{path}: {' and '.join(f'x_{part}' for part in parts)}")
    for part, (count, *_) in zip(parts, shapes):
        header = headers[f"x_{part}"]
        if header.fortran and header.bytes > WHOLE:
            raise UserError(
                f"{path}: x_{part} is in Fortran order, which is read whole, and too large for "
                "that: save it with numpy.ascontiguousarray"
            )
        check_labels(headers[f"y_{part}"], count, f"{path}: y_{part}")
    labels = [flatten_labels(read_whole(path, f"y_{part}"), f"{path}: y_{part}") for part in parts]
    for part, part_labels in zip(parts, labels):
        if part_labels.max() >= shape[0]:
            raise UserError(
                f"{path}: y_{part} holds the label {part_labels.max()} and the file {shape[0]:,} "
                "images: classes are numbered from 0"
            )
    class_names = read_class_names(path, headers, shape[0])
    labels = [part_labels.astype(np.int64) for part_labels in labels]
    if unread := [name for name, header in headers.items() if header is None]:
        print(f"note: {path}: not read: {join_names(map(printable, unread))}", file=sys.stderr)
    chunks = read_chunks(path, parts, labels, shapes)
    validation = sum(len(x) for part, x in zip(parts, labels) if part == "val")
    return Arrays(shape, shapes[0][0], class_names, chunks, validation)


def read_headers(path: Path) -> dict[str, Header | None]:
    """The headers of the arrays that are read, by name; None for the others."""
    with reading(path), open_zip(path, MEMBERS) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
    headers = {}
    for name in names:
        if name in (*(f"{kind}_{part}" for kind in "xy" for part in PARTS), "class_names"):
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


def check_images(header: Header, where: str) -> tuple[int, int, int, int]:
    """The shape as (images, height, width, channels). Raises `UserError` unless the array can hold
    images."""
    if header.dtype != np.uint8:
        raise UserError(f"{where} is {header.dtype}: pixels must be uint8, 0 to 255")
    shape = header.shape
    full = (*shape, 1) if len(shape) == 3 else shape
    if len(full) != 4 or full[3] not in (1, 3) or min(full) < 1:
        raise UserError(
            f"{where} has the shape {format_shape(shape)}: it must be (images, height, width) or "
            "(images, height, width, 1 or 3)"
        )
    return full


def check_labels(header: Header, count: int, where: str) -> None:
    """Raise `UserError` unless an array can hold the labels of `count` images."""
    if header.shape not in ((count,), (count, 1)):
        raise UserError(
            f"{where} has the shape {format_shape(header.shape)}: it must be ({count},), one label "
            "per image"
        )
    if header.dtype.kind not in "iu":
        raise UserError(f"{where} must hold whole numbers from 0; it is {printable(header.dtype)}")


def flatten_labels(array: np.ndarray, where: str) -> np.ndarray:
    """Labels of any integer type as (images,); Keras's CIFAR arrays have the shape (images, 1).
    Raises `UserError` if one is negative."""
    if array.min() < 0:
        raise UserError(f"{where} must hold whole numbers from 0; the smallest is {array.min()}")
    return array.reshape(len(array))


def read_class_names(
    path: Path, headers: dict[str, Header | None], images: int
) -> list[str] | None:
    """The array class_names, of text or UTF-8 bytes; None if there is none."""
    if (header := headers.get("class_names")) is None:
        return None
    where = f"{path}: class_names"
    if header.dtype.kind not in "USiu":
        raise UserError(f"{where} is {printable(header.dtype)}: it must hold text")
    if header.bytes > min(images, 1 << 20) * 4 * LONGEST_NAME:
        raise UserError(f"{where} has {header.bytes:,} bytes, more than class names need")
    with reading(path):
        names = np.ravel(read_whole(path, "class_names")).tolist()
    try:
        return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    except UnicodeDecodeError:
        raise UserError(f"{where} holds bytes that are not UTF-8: save it as text") from None


def read_chunks(
    path: Path, parts: list[str], labels: list[np.ndarray], shapes: list[tuple[int, ...]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images, uint8 (chunk, height, width, channels), and their labels, part by part."""
    for part, part_labels, shape in zip(parts, labels, shapes):
        where = f"{path}: x_{part}"
        step = choose_chunk_size(shape[1:])
        with open_array(path, f"x_{part}") as (file, header):
            if header.fortran:
                whole = read_whole(path, f"x_{part}").reshape(shape)
            for start in range(0, len(part_labels), step):
                chunk = part_labels[start : start + step]
                if header.fortran:
                    yield whole[start : start + step], chunk
                else:
                    yield read_uint8(file, (len(chunk), *shape[1:]), where), chunk
            if not header.fortran and file.read(1):  # the checksum is verified at the end
                raise UserError(f"{where} is longer than its header says")


def read_uint8(file: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Read the next bytes of a file as uint8 of this shape. Raises `UserError` if the file ends
    early."""
    content = file.read(int(np.prod(shape)))
    if len(content) != np.prod(shape):
        raise UserError(f"{where} ends early: it is cut off, or damaged")
    return np.frombuffer(content, np.uint8).reshape(shape)


def format_shape(shape: tuple[int, ...]) -> str:
    """A shape, for a message."""
    return printable(shape, 80)
