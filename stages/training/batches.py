"""Batches from memory-mapped arrays, in an order that depends only on the seed and the epoch."""

import mmap

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Batches of images and labels: uint8 (batch, height, width, channels) and int64 (batch,), or,
    given `classes`, one-hot float32 (batch, classes).

    With a `seed`, the images are shuffled each epoch by ``numpy.random.default_rng([seed,
    epoch])``, so the order does not depend on which epochs ran before in this process. Without one,
    they keep their stored order.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        classes: int | None,
        seed: int | None = None,
    ):
        super().__init__()
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.labels = labels
        self.one_hot = None if classes is None else np.eye(classes, dtype=np.float32)
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Shuffle the images for `epoch`, counted from 0."""
        count = len(self.labels)
        self.order = (
            None
            if self.seed is None
            else np.random.default_rng([self.seed, epoch]).permutation(count)
        )
        if self.order is not None:
            read_ahead(self.images, self.order[: self.batch_size])

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        selection = slice(step * self.batch_size, (step + 1) * self.batch_size)
        if self.order is not None:
            read_ahead(self.images, self.order[selection.stop : selection.stop + self.batch_size])
            selection = self.order[selection]
        labels = self.labels[selection]
        return self.images[selection], labels if self.one_hot is None else self.one_hot[labels]


def read_ahead(images: np.ndarray, indices: np.ndarray) -> None:
    """Ask the system to read the images at `indices` in the background, in parallel, if `images` is
    memory-mapped.

    Otherwise training waits for each image that is not in memory, and Linux reads the data around
    it too, as its read-ahead is set: with data larger than memory, nearly all time goes there.
    """
    mapped = getattr(images, "_mmap", None)  # of numpy.memmap; None for an array in memory
    if not hasattr(mapped, "madvise"):
        return
    size = images[0].nbytes
    for index in indices.tolist():
        start = images.offset + index * size
        page = start - start % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_WILLNEED, page, start + size - page)
