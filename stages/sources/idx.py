"""Gzipped IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist) and Fashion-MNIST:
big-endian sizes, then bytes."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.runtime.errors import UserError
from stages.sources.chunks import Arrays, choose_chunk_size, refuse_large
from stages.sources.npz import read_uint8
from stages.sources.opening import reading

if TYPE_CHECKING:
    from stages.params.schema import Limits

FILES = [f"{part}-{what}" for part in ("train", "t10k") for what in ("images", "labels")]


def read_idx(files: dict[str, Path], class_names: list[str], limits: "Limits") -> Arrays:
    """Check the four `files`, whose names begin with those in `FILES`, and read the labels; the
    images are read as the chunks are consumed."""
    paths = [next(path for name, path in files.items() if name.startswith(file)) for file in FILES]
    parts = [paths[:2], paths[2:]]
    shapes, labels = [], []
    for images_file, labels_file in parts:
        with reading(images_file), gzip.open(images_file) as file:
            shapes.append(read_header(file, 3, images_file))
        refuse_large((*shapes[-1], 1), limits, str(images_file))
        with reading(labels_file), gzip.open(labels_file) as file:
            (count,) = read_header(file, 1, labels_file)
            if count != shapes[-1][0]:
                raise UserError(
                    f"{labels_file} holds {count} labels for the {shapes[-1][0]} images of "
                    f"{images_file}"
                )
            labels.append(read_uint8(file, (count,), labels_file).astype(np.int64))
            require_end(file, labels_file)
        if labels[-1].max() >= len(class_names):
            raise UserError(
                f"{labels_file} holds the label {labels[-1].max()}: there are {len(class_names)} "
                "classes"
            )
    if shapes[0][1:] != shapes[1][1:]:
        raise UserError(f"{parts[0][0]} and {parts[1][0]} hold images of different sizes")
    shape = (shapes[0][0] + shapes[1][0], *shapes[0][1:], 1)
    refuse_large(shape, limits, " and ".join(str(images) for images, _ in parts))
    return Arrays(
        shape, shapes[0][0], class_names, read_chunks([images for images, _ in parts], labels)
    )


def read_header(file: Any, dimensions: int, path: Path) -> tuple[int, ...]:
    """Read the header of an IDX file of bytes; returns the shape."""
    if file.read(4) != bytes([0, 0, 8, dimensions]):
        raise UserError(
            f"{path} is not an IDX file of bytes with {dimensions} "
            f"dimension{'s' * (dimensions > 1)}"
        )
    shape = tuple(np.frombuffer(read_uint8(file, (4 * dimensions,), path), ">u4").tolist())
    if min(shape) < 1:
        raise UserError(f"{path} announces the shape {shape}: it is damaged, or empty")
    return shape


def read_chunks(
    images_files: list[Path], labels: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images, uint8 (chunk, height, width, 1), and their labels."""
    for path, part_labels in zip(images_files, labels):
        with reading(path), gzip.open(path) as file:
            _, *size = read_header(file, 3, path)
            step = choose_chunk_size(tuple(size))
            for start in range(0, len(part_labels), step):
                chunk = part_labels[start : start + step]
                yield read_uint8(file, (len(chunk), *size, 1), path), chunk
            require_end(file, path)


def require_end(file: Any, path: Path) -> None:
    """Raise `UserError` unless the file ends here, where gzip verifies its checksum."""
    if file.read(1):
        raise UserError(f"{path} is longer than its header says")
