"""The layout of ``data/raw/NAME/``, which the stage download writes and split and preprocess read.

    labels.npy    int64 (images,), 0 for the first class; training images first, then validation
                  images where the source has them, then test images
    digests.npy   uint8 (images, 16), BLAKE2b of each image's shape and pixels: equal images have
                  equal digests
    dataset.json  name, source, kind, official, source_digest, licence, class_names, the number of
                  training, validation (if any) and test images, channels, the smallest and largest
                  width and height in pixels, and the skipped files, with the reasons

and the images. If the source holds arrays, all of one size:

    images.npy    uint8 (images, height, width, channels)

If it holds encoded files, which keep their bytes:

    images.bin    the contents of the files, one after another
    offsets.npy   int64 (images + 1,), where each begins in images.bin, and where the last ends
    names.txt     their names inside the source, UTF-8, one per line
"""

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from stages.images.decode import BadImage, decode
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.storage import files

DIGEST_BYTES = 16


class Raw:
    """A data set in ``data/raw/NAME/``; images are read on demand."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.dataset: dict[str, Any] = files.read_json(folder / "dataset.json")
        self.class_names: list[str] = self.dataset["class_names"]
        # numbers of training and validation images, which come first; the rest are for testing
        self.train: int = self.dataset["train"]
        self.validation: int = self.dataset.get("validation", 0)
        self.labels: np.ndarray = np.load(folder / "labels.npy")
        self.digests: np.ndarray = np.load(folder / "digests.npy")
        self.names: list[str] | None = None  # of encoded files, inside the source
        if (folder / "images.npy").exists():
            self._images = np.load(folder / "images.npy", mmap_mode="r")
        else:
            self.names = (folder / "names.txt").read_text(encoding="utf-8").split("\n")[:-1]
            self._offsets = np.load(folder / "offsets.npy")
            self._content = np.memmap(folder / "images.bin", np.uint8, "r")

    def image(self, place: int) -> np.ndarray:
        """The image at `place`, uint8 (height, width, channels), decoded now; encoded ones may
        differ in size. Raises `UserError` if it is damaged."""
        if self.names is None:
            return self._images[place]
        content = self._content[self._offsets[place] : self._offsets[place + 1]].tobytes()
        try:
            return decode(content, self.dataset["channels"])
        except BadImage as error:  # download had decoded it
            raise UserError(
                f"{self.folder} is damaged: {printable(self.names[place])}: {error}.\n"
                "       Delete the folder, and run `dvc repro`"
            ) from None


def digest(image: np.ndarray) -> bytes:
    """The digest of an image's shape and pixels, 16 bytes."""
    shape = np.array(image.shape, "<u4").tobytes()
    return blake2b(np.ascontiguousarray(image), digest_size=DIGEST_BYTES, person=shape).digest()
