"""Batches read from memory-mapped arrays, in an order that the seed and the number of the epoch
decide."""

import mmap

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """(images, labels) a step: uint8 (batch, height, width, channels); int64 (batch,), or float32
    (batch, classes), one-hot, with `classes`.

    With a `seed`, the images come in an order drawn anew for each epoch:
    ``numpy.random.default_rng([seed, epoch])``, so that an epoch is the same whether or not those
    before it ran in the same process. Without one they come as they are stored.
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
        """Draw the order of `epoch`, counted from 0."""
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
        chosen = slice(step * self.batch_size, (step + 1) * self.batch_size)
        if self.order is not None:
            read_ahead(self.images, self.order[chosen.stop : chosen.stop + self.batch_size])
            chosen = self.order[chosen]
        labels = self.labels[chosen]
        return self.images[chosen], labels if self.one_hot is None else self.one_hot[labels]


def read_ahead(images: np.ndarray, places: np.ndarray) -> None:
    """Have the system read the images at `places` in the background, all at the same time, where
    `images` is a memory map.

    Without it, training waits for each image that is not in memory, and Linux reads around it what
    the disk's read-ahead allows: with data larger than memory that takes nearly all of the time.
    """
    mapped = getattr(images, "_mmap", None)  # of numpy.memmap; None of an array in memory
    if not hasattr(mapped, "madvise"):
        return
    size = images[0].nbytes
    for place in places.tolist():
        begin = images.offset + place * size
        page = begin - begin % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_WILLNEED, page, begin + size - page)
