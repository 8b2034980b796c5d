"""Write the images of each part as arrays, and compute the constants of the normalisation; see the
stage preprocess."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from stages.images.resize import resize
from stages.params.schema import Preprocess
from stages.runtime import progress, threads
from stages.runtime.errors import UserError
from stages.sources.raw import Raw
from stages.storage import arrays, files
from stages.storage.prepared import PARTS

CHUNK_BYTES = 1 << 24  # of images summed at a time, as float64; but at least one image
LEAST_DEVIATION = 1e-5  # of a channel's pixels, 0 to 255: anything less is rounding


def require_one_size(dataset: dict[str, Any]) -> None:
    """Raise `UserError` if the images of `dataset`, the content of dataset.json, differ in size."""
    for side in ("height", "width"):
        least, most = dataset[side]["min"], dataset[side]["max"]
        if least < most:
            raise UserError(
                f"the images differ in size: their {side} is {least} to {most} pixels.\n"
                "       Set preprocess.image_size in params.yaml, which is empty"
            )


def write_part(
    path: Path, images: Iterable[np.ndarray], count: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Write `count` uint8 images of `shape` to `path` as one array, one at a time; returns it as a
    memory map."""
    prepared = arrays.create(path, np.uint8, (count, *shape))
    for place, image in enumerate(images):
        prepared[place] = image
    prepared.flush()
    return prepared


def compute_rescaling(normalisation: str, train: np.ndarray) -> dict[str, list[float]]:
    """The normalisation as ``scale`` and ``offset`` per channel, for pixel * scale + offset;
    ``standard`` computes them from `train`, uint8 (images, height, width, channels)."""
    channels = train.shape[3]
    if normalisation == "standard":
        total, squares = np.zeros(channels), np.zeros(channels)
        step = max(1, CHUNK_BYTES // train[0].nbytes)
        for start in range(0, len(train), step):
            pixels = train[start : start + step].reshape(-1, channels).astype(np.float64)
            total, squares = total + pixels.sum(axis=0), squares + (pixels**2).sum(axis=0)
        count = train[..., 0].size
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        deviation[deviation < LEAST_DEVIATION] = 1  # a constant channel is only centred
        return {"scale": (1 / deviation).tolist(), "offset": (-mean / deviation).tolist()}
    scale, offset = {
        "unit": (1 / 255, 0.0),
        # as in the flowers document, by mistake: in the generator, and again in the model
        "unit_twice": (1 / 255 / 255, 0.0),
        "symmetric": (1 / 127.5, -1.0),
        "none": (1.0, 0.0),
    }[normalisation]
    return {"scale": [scale] * channels, "offset": [offset] * channels}


def write(raw: Raw, options: Preprocess, split_folder: Path, folder: Path) -> None:
    """Preprocess the parts in `split_folder`, and write ``PART.npy``, ``PART_labels.npy`` and
    data.json into the new folder `folder`. Raises `UserError` if the images differ in size, and
    options give none."""
    if options.image_size is None:
        require_one_size(raw.dataset)
    split = files.read_json(split_folder / "split.json")
    folder.mkdir(parents=True)
    digests, shape = {}, None
    for part in PARTS:
        index = np.load(split_folder / f"{part}.npy")
        if shape is None:
            shape = resize(raw.image(index[0]), options).shape
        images = threads.map_in_order(lambda place: resize(raw.image(place), options), index)
        read = progress.track(images, f"{part} set", "images", len(index))
        prepared = write_part(folder / f"{part}.npy", read, len(index), shape)
        np.save(folder / f"{part}_labels.npy", raw.labels[index])
        if part == "train":
            constants = compute_rescaling(options.normalisation, prepared)
        digests |= {name: files.sha256(folder / f"{name}.npy") for name in (part, f"{part}_labels")}
    description = {
        "dataset": raw.dataset["name"],
        "class_names": raw.class_names,
        "image_shape": list(shape),
        "decoded_channels": raw.dataset["channels"],
        "preprocess": options.model_dump(),
        "rescaling": constants,
        "validation_is_test": split["validation_is_test"],
        "validation_is_training": split["validation_is_training"],
        "sha256": digests,
    }
    files.write_json(folder / "data.json", description)
    print("images of {}×{} pixels, {} channel{}".format(*shape, "s" * (shape[2] > 1)))
