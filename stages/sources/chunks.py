"""A data set whose source holds arrays, read in chunks that fit into memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.runtime.errors import UserError
from stages.runtime.text import printable

if TYPE_CHECKING:
    from stages.params.schema import Limits

CHUNK = 1000  # images read at a time, at most
CHUNK_BYTES = 1 << 24  # at most, but at least one image


@dataclass
class Arrays:
    """A data set whose source holds arrays, read in chunks."""

    shape: tuple[int, int, int, int]  # images, height, width, channels
    train: int  # number of training images, which come first
    class_names: list[str] | None  # None: classes are named by their numbers
    # images, uint8 (chunk, height, width, channels), and labels, int64 (chunk,)
    chunks: Iterable[tuple[np.ndarray, np.ndarray]]
    validation: int = 0  # number of validation images, which follow the training images


def choose_chunk_size(shape: tuple[int, ...]) -> int:
    """The number of images of a shape (height, width, channels) to read at a time."""
    return int(np.clip(CHUNK_BYTES // int(np.prod(shape)), 1, CHUNK))


def refuse_large(shape: tuple[int, int, int, int], limits: "Limits", where: str) -> None:
    """Raise `UserError` if uint8 images of `shape` (images, height, width, channels) exceed the
    section ``download.limits``; an image counts as a file."""
    images, height, width, channels = map(int, shape)
    image = height * width * channels
    for value, limit in (
        (images, "files"),
        (height * width, "pixels"),
        (image, "file_bytes"),
        (images * image, "total_bytes"),
    ):
        if value > (allowed := getattr(limits, limit)):
            raise UserError(
                f"{where}: {printable(images)} images of {printable(height)}×{printable(width)}"
                f"×{channels} are more than download.limits.{limit} allows: {allowed:,}"
            )
