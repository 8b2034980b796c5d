"""Data sets in an ``.npz`` file with the arrays of ``keras.datasets``: x_train and y_train,
optionally x_test and y_test, x_val and y_val, and class_names.

The headers of all arrays are read first and compared with ``download.limits``; then the labels, and
the images in chunks.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.runtime.errors import UserError
from stages.runtime.text import LONGEST_NAME, join_names, printable
from stages.sources.chunks import Arrays, choose_chunk_size, refuse_large
from stages.sources.npz import Header, open_array, read_headers, read_uint8, read_whole
from stages.sources.opening import reading

if TYPE_CHECKING:
    from stages.params.schema import Limits

PARTS = ("train", "val", "test")  # in the order of the images
READ = (*(f"{kind}_{part}" for kind in "xy" for part in PARTS), "class_names")  # other arrays not
WHOLE = 1 << 28  # size limit of an array in Fortran order, which is read whole


def read_npz(path: Path, limits: "Limits") -> Arrays:
    """Check the file, and read the labels; the images are read as the chunks are consumed, one at a
    time. Raises `UserError` naming the array that is missing or invalid."""
    headers = read_headers(path, READ)
    parts = find_parts(path, headers)
    shapes = check_headers(path, headers, parts)
    shape = (sum(count for count, *_ in shapes), *shapes[0][1:])
    refuse_large(shape, limits, f"{path}: {' and '.join(f'x_{part}' for part in parts)}")
    labels = [read_labels(path, part, shape[0]) for part in parts]
    class_names = read_class_names(path, headers, shape[0])
    if unread := [name for name, header in headers.items() if header is None]:
        print(f"note: {path}: not read: {join_names(map(printable, unread))}", file=sys.stderr)
    chunks = read_chunks(path, parts, labels, shapes)
    validation = sum(len(x) for part, x in zip(parts, labels) if part == "val")
    return Arrays(shape, shapes[0][0], class_names, chunks, validation)


def find_parts(path: Path, headers: dict[str, Header | None]) -> list[str]:
    """The parts with images or labels, and train. Without test arrays all images are for training;
    the stage split takes the other parts from it. Raises `UserError` if an array is missing."""
    parts = [part for part in PARTS if part == "train" or {f"x_{part}", f"y_{part}"} & {*headers}]
    wanted = [name for part in parts for name in (f"x_{part}", f"y_{part}")]
    if missing := [name for name in wanted if name not in headers]:
        raise UserError(
            f"{path} lacks {', '.join(missing)}; it holds "
            f"{printable(', '.join(headers)) or 'nothing'}"
        )
    return parts


def check_headers(
    path: Path, headers: dict[str, Header | None], parts: list[str]
) -> list[tuple[int, int, int, int]]:
    """The shape of the images of each part. Raises `UserError` unless the arrays can hold images of
    one size, and a label for each."""
    shapes = [check_images(headers[f"x_{part}"], f"{path}: x_{part}") for part in parts]
    for part, shape in zip(parts, shapes):
        if shape[1:] != shapes[0][1:]:
            raise UserError(
                f"{path}: images of x_train are {shapes[0][1:]}, of x_{part} {shape[1:]}: they "
                "must agree"
            )
        header = headers[f"x_{part}"]
        if header.fortran and header.bytes > WHOLE:
            raise UserError(
                f"{path}: x_{part} is in Fortran order, which is read whole, and too large for "
                "that: save it with numpy.ascontiguousarray"
            )
        check_labels(headers[f"y_{part}"], shape[0], f"{path}: y_{part}")
    return shapes


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


def read_labels(path: Path, part: str, images: int) -> np.ndarray:
    """The labels of a part, int64 (images,), from any integer type; Keras's CIFAR arrays have the
    shape (images, 1). Raises `UserError` unless they are from 0 to less than `images`, the number
    of all images."""
    labels = read_whole(path, f"y_{part}")
    if labels.min() < 0:
        raise UserError(
            f"{path}: y_{part} must hold whole numbers from 0; the smallest is {labels.min()}"
        )
    if labels.max() >= images:
        raise UserError(
            f"{path}: y_{part} holds the label {labels.max()} and the file {images:,} images: "
            "classes are numbered from 0"
        )
    return labels.reshape(len(labels)).astype(np.int64)


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


def format_shape(shape: tuple[int, ...]) -> str:
    """A shape, for a message."""
    return printable(shape, 80)
