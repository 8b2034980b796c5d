"""Prepared data, as training and evaluation read them: the folder that the stage preprocess
writes."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stages.storage import files

PARTS = ("train", "validation", "test")


class Prepared:
    """The content of the folder. `most` limits the number of images of a part, drawn with a fixed
    seed, for runs with a reduced budget."""

    def __init__(
        self, folder: Path = Path("data/prepared"), most: dict[str, int | None] | None = None
    ):
        self.folder = folder
        self.most = most or {}

    @cached_property
    def description(self) -> dict[str, Any]:
        """``data.json``: dataset, class_names, image_shape, decoded_channels (before preprocess),
        preprocess (its parameters), rescaling (scale and offset per channel), validation_is_test,
        validation_is_training, sha256 of each array."""
        return files.read_json(self.folder / "data.json")

    def images(self, part: str) -> np.ndarray:
        """The images of a part (train, validation or test), uint8 (images, height, width,
        channels), as a memory map."""
        images = np.load(self.folder / f"{part}.npy", mmap_mode="r")
        chosen = self._chosen(part, len(images))
        return images if chosen is None else images[chosen]

    def labels(self, part: str) -> np.ndarray:
        """The class numbers of a part, int64 (images,)."""
        labels = np.load(self.folder / f"{part}_labels.npy")
        chosen = self._chosen(part, len(labels))
        return labels if chosen is None else labels[chosen]

    def file_names(self, part: str) -> list[str] | None:
        """The names of the files that a part's images come from; None if they came as arrays."""
        path = self.folder / f"{part}_names.txt"
        if not path.exists():
            return None
        names = path.read_text(encoding="utf-8").split("\n")[:-1]
        chosen = self._chosen(part, len(names))
        return names if chosen is None else [names[index] for index in chosen]

    def _chosen(self, part: str, count: int) -> np.ndarray | None:
        most = self.most.get(part)
        if most is None or most >= count:
            return None
        return np.sort(np.random.default_rng(0).permutation(count)[:most])
