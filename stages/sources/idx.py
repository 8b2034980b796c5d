"""Gzipped IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist) and Fashion-MNIST:
big-endian sizes, then bytes."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.runtime.errors import UserError
from stages.sources.arrays import from_bytes
from stages.sources.opening import reading
from stages.sources.writing import Arrays, chunk_of, refuse_large

if TYPE_CHECKING:
    from stages.params.schema import Limits

FILES = [f"{part}-{what}" for part in ("train", "t10k") for what in ("images", "labels")]


def read_idx(files: dict[str, Path], class_names: list[str], limits: "Limits") -> Arrays:
    """Four files, whose names begin with those of `FILES`."""
    found = [next(path for name, path in files.items() if name.startswith(file)) for file in FILES]
    parts = [found[:2], found[2:]]
    shapes, labels = [], []
    for images_file, labels_file in parts:
        with reading(images_file), gzip.open(images_file) as file:
            shapes.append(header(file, 3, images_file))
        refuse_large((*shapes[-1], 1), limits, str(images_file))
        with reading(labels_file), gzip.open(labels_file) as file:
            (count,) = header(file, 1, labels_file)
            if count != shapes[-1][0]:
                raise UserError(
                    f"{labels_file} holds {count} labels for the {shapes[-1][0]} images of "
                    f"{images_file}"
                )
            labels.append(from_bytes(file, (count,), labels_file).astype(np.int64))
            end(file, labels_file)
        if labels[-1].max() >= len(class_names):
            raise UserError(
                f"{labels_file} holds the label {labels[-1].max()}: there are {len(class_names)} "
                "classes"
            )
    if shapes[0][1:] != shapes[1][1:]:
        raise UserError(f"{parts[0][0]} and {parts[1][0]} hold images of different sizes")
    shape = (shapes[0][0] + shapes[1][0], *shapes[0][1:], 1)
    refuse_large(shape, limits, " and ".join(str(images) for images, _ in parts))
    return Arrays(shape, shapes[0][0], class_names, chunks([images for images, _ in parts], labels))


def header(file: Any, dimensions: int, path: Path) -> tuple[int, ...]:
    """The sizes that an IDX file of bytes begins with."""
    if file.read(4) != bytes([0, 0, 8, dimensions]):
        raise UserError(
            f"{path} is not an IDX file of bytes with {dimensions} "
            f"dimension{'s' * (dimensions > 1)}"
        )
    shape = tuple(np.frombuffer(from_bytes(file, (4 * dimensions,), path), ">u4").tolist())
    if min(shape) < 1:
        raise UserError(f"{path} announces the shape {shape}: it is damaged, or empty")
    return shape


def chunks(
    images_files: list[Path], labels: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images as uint8 (some, height, width, 1) and their labels."""
    for path, some in zip(images_files, labels):
        with reading(path), gzip.open(path) as file:
            _, *size = header(file, 3, path)
            step = chunk_of(tuple(size))
            for start in range(0, len(some), step):
                their = some[start : start + step]
                yield from_bytes(file, (len(their), *size, 1), path), their
            end(file, path)


def end(file: Any, path: Path) -> None:
    """Raise `UserError` unless the file ends here; gzip compares its checksum there."""
    if file.read(1):
        raise UserError(f"{path} is longer than its header says")
