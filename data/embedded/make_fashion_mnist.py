#!/usr/bin/env python3
"""Make ``fashion_mnist.npz``, the sample of Fashion-MNIST that the project carries, from the
complete data set.

usage: data/embedded/make_fashion_mnist.py [FOLDER]

FOLDER holds the publisher's four ``*-ubyte.gz`` files; the default is where Debian's package
``dataset-fashion-mnist`` puts them. The same number of images of each class is drawn with a fixed
seed, 10,000 of the 60,000 for training and 4,000 of the 10,000 for testing, and they keep their
order. Layout of the result, which is Keras's with two arrays more:

    x_train (10000, 28, 28) uint8    y_train (10000,) uint8    train_index (10000,) int64, place in
    the complete data set
    x_test   (4000, 28, 28) uint8    y_test   (4000,) uint8    test_index   (4000,) int64
    class_names (10,) text
"""

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

SEED = 20191
CLASS_NAMES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
# SHA-256 of the unpacked files: how they are packed differs from one distributor to the next
FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def read_idx(folder: Path, name: str) -> np.ndarray:
    """One gzipped IDX file as an array of uint8. Exits with a message when its content is not the
    publisher's."""
    content = gzip.decompress((folder / f"{name}.gz").read_bytes())
    if hashlib.sha256(content).hexdigest() != FILES[name]:
        sys.exit(f"{folder / name}.gz does not hold the published data")
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def draw(labels: np.ndarray, a_class: int, random: np.random.Generator) -> np.ndarray:
    """Sorted indices of `a_class` images of each class."""
    chosen = [
        random.choice(np.flatnonzero(labels == label), a_class, replace=False)
        for label in range(len(CLASS_NAMES))
    ]
    return np.sort(np.concatenate(chosen))


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")
    random = np.random.default_rng(SEED)
    arrays = {}
    for part, prefix, a_class in (("train", "train", 1000), ("test", "t10k", 400)):
        images, labels = (
            read_idx(folder, f"{prefix}-images-idx3-ubyte"),
            read_idx(folder, f"{prefix}-labels-idx1-ubyte"),
        )
        index = draw(labels, a_class, random)
        arrays |= {f"x_{part}": images[index], f"y_{part}": labels[index], f"{part}_index": index}
    destination = Path(__file__).with_name("fashion_mnist.npz")
    np.savez_compressed(destination, **arrays, class_names=np.array(CLASS_NAMES))
    print(
        f"{destination}: {destination.stat().st_size:,} bytes, SHA-256 "
        f"{hashlib.sha256(destination.read_bytes()).hexdigest()}"
    )


if __name__ == "__main__":
    main()
