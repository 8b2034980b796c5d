"""Data sets in an ``.npz`` file with the arrays of ``keras.datasets``: x_train, y_train, x_test,
y_test, perhaps class_names."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.runtime.errors import UserError
from stages.sources.archives import reading
from stages.sources.writing import CHUNK, Arrays

if TYPE_CHECKING:
    from stages.params.schema import Limits

PARTS = ("train", "test")
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, limits: "Limits") -> Arrays:
    """Check the file, and read it while the chunks are asked for: memory holds the labels and one
    chunk. Arrays in Fortran's order are the exception, they are read whole. Raises `UserError`
    naming the array that is missing or not as it should be."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged, or not an .npz file")
    with reading(path), np.load(path, allow_pickle=False) as file:
        if missing := [
            name for part in PARTS for name in (f"x_{part}", f"y_{part}") if name not in file.files
        ]:
            raise UserError(
                f"{path} lacks {', '.join(missing)}; it holds {', '.join(file.files) or 'nothing'}"
            )
        shapes = [images_shape(path, f"x_{part}") for part in PARTS]
        if (
            total := sum(int(np.prod(shape, dtype=object)) for shape in shapes)
        ) > limits.total_bytes:
            raise UserError(
                f"{path}: {total:,} bytes of pixels, more than download.limits.total_bytes: "
                f"{limits.total_bytes:,}"
            )
        if shapes[0][1:] != shapes[1][1:]:
            raise UserError(
                f"{path}: images of x_train are {shapes[0][1:]}, of x_test {shapes[1][1:]}; they "
                "must agree"
            )
        labels = [
            as_labels(file[f"y_{part}"], shape[0], f"{path}: y_{part}")
            for part, shape in zip(PARTS, shapes)
        ]
        class_names = (
            [str(name) for name in np.ravel(file["class_names"])]
            if "class_names" in file.files
            else None
        )
    if any(label >= sum(map(len, labels)) for some in labels for label in [int(some.max())]):
        raise UserError(
            f"{path}: y_train or y_test holds a label as large as the number of images: classes "
            "are numbered from 0"
        )
    shape = (shapes[0][0] + shapes[1][0], *shapes[0][1:])
    return Arrays(shape, shapes[0][0], class_names, chunks(path, labels))


@contextmanager
def member(path: Path, name: str) -> Iterator[tuple[Any, tuple[int, ...], bool, np.dtype]]:
    """An array's file inside the archive, at the first value; its shape, whether in Fortran's
    order, and its dtype."""
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise UserError(
                f"{path}: {name} is in version {version} of the .npy format: save it with "
                "numpy.savez"
            )
        yield file, *HEADERS[version](file)


def images_shape(path: Path, name: str) -> tuple[int, int, int, int]:
    """The shape of an array of images as (images, height, width, channels)."""
    with member(path, name) as (_, shape, _, dtype):
        if dtype != np.uint8:
            raise UserError(f"{path}: {name} is {dtype}: pixels must be uint8, 0 to 255")
        full = (*shape, 1) if len(shape) == 3 else shape
        if len(full) != 4 or full[3] not in (1, 3) or min(full) < 1:
            raise UserError(
                f"{path}: {name} has the shape {shape}: it must be (images, height, width) or "
                "(images, height, width, 1 or 3)"
            )
    return full


def as_labels(array: np.ndarray, count: int, where: str) -> np.ndarray:
    """Labels as int64 (images,); Keras's CIFAR arrays have them as (images, 1)."""
    if array.shape not in ((count,), (count, 1)):
        raise UserError(
            f"{where} has the shape {array.shape}: it must be ({count},), a label an image"
        )
    if array.dtype.kind not in "iu" or array.min() < 0:
        smallest = "" if array.dtype.kind not in "iu" else f", the smallest {array.min()}"
        raise UserError(f"{where} must hold whole numbers from 0; it is {array.dtype}{smallest}")
    return array.reshape(count).astype(np.int64)


def chunks(path: Path, labels: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images as uint8 (some, height, width, channels) and their labels, first
    those for training."""
    for part, some in zip(PARTS, labels):
        shape = images_shape(path, f"x_{part}")
        with member(path, f"x_{part}") as (file, _, fortran, _):
            if fortran:
                with np.load(path, allow_pickle=False) as whole:
                    images = whole[f"x_{part}"].reshape(shape)
            for start in range(0, len(some), CHUNK):
                count = min(CHUNK, len(some) - start)
                if fortran:
                    yield images[start : start + count], some[start : start + count]
                else:
                    yield (
                        from_bytes(file, (count, *shape[1:]), f"{path}: x_{part}"),
                        some[start : start + count],
                    )
            if not fortran and file.read(
                1
            ):  # the archive's checksum is compared at the end of the file
                raise UserError(f"{path}: x_{part} is longer than its header says")


def from_bytes(file: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """The next bytes of a file as uint8 of this shape. Raises `UserError` where the file ends
    before."""
    content = file.read(int(np.prod(shape)))
    if len(content) != np.prod(shape):
        raise UserError(f"{where} ends early: it is cut off, or damaged")
    return np.frombuffer(content, np.uint8).reshape(shape)
