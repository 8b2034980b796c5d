"""The image files to classify: found, read within limits, and prepared as in training. What is
wrong with one file is said of that file, and the others go on."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from commands.predicting.trained import Training
from stages.images.decode import BadImage, decode, is_image_file
from stages.images.resize import resized

BATCH = 250  # images that are decoded, and predicted, at a time, at most
BATCH_BYTES = 64_000_000  # of decoded images at a time; one, where that has more
FILE_BYTES = 100_000_000  # of a file at most
PIXELS = 100_000_000  # of a file at most: a small file may claim any number

Row = dict[str, Any]  # file, class, probability, runners_up


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to classify: those named, and of folders all whose suffix is an image's, at any
    depth, sorted. Inside folders, what systems leave behind is passed over, as in training."""
    for path in paths:
        if not is_folder(path):
            yield path
            continue
        inside = sorted(
            file
            for file in path.rglob("*")
            if is_image_file(file.relative_to(path).as_posix()) and not is_folder(file)
        )
        yield from inside or [path]  # a folder without images is an error of its own


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long
        return False


def read(path: Path) -> bytes:
    """The content of a regular file of at most `FILE_BYTES`. A pipe, a device or a socket is never
    opened: to read it may never end. Raises `BadImage`, or OSError."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise BadImage("this folder holds no images")
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("not a regular file")
    if status.st_size > FILE_BYTES:
        raise BadImage(f"{status.st_size:,} bytes, more than {FILE_BYTES:,}")
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read(FILE_BYTES)


def prepare(path: Path, training: Training) -> np.ndarray | str:
    """The image in a file as the network takes it, uint8 (height, width, channels); or what is
    wrong with the file."""
    height, width, channels = training.shape
    try:
        image = decode(read(path), training.decoded_channels, PIXELS, "of this command")
    except OSError as error:
        return error.strerror or str(error)
    except BadImage as error:
        return str(error)
    except MemoryError:
        return "not enough memory for it"
    # training may have kept the size that all its images had: another one is brought to it
    size = height if height == width else None
    image = resized(
        image, training.preprocess.model_copy(update={"channels": channels, "image_size": size})
    )
    if image.shape != (height, width, channels):
        return (
            f"the model takes images of {height}×{width} pixels, "
            f"and this one has {image.shape[0]}×{image.shape[1]}"
        )
    return image


def classify(
    paths: Iterable[Path],
    predict: Callable[[np.ndarray], np.ndarray],
    training: Training,
    top: int,
) -> Iterator[tuple[Row | str, Path, np.ndarray | None]]:
    """For each file its row, or what is wrong with it; the file; and its image. `predict` gives
    probabilities (images, classes)."""
    paths = iter(paths)
    batch = max(1, min(BATCH, BATCH_BYTES // int(np.prod(training.shape))))
    with ThreadPoolExecutor() as threads:
        while chunk := list(islice(paths, batch)):
            images = list(threads.map(lambda path: prepare(path, training), chunk))
            good = [image for image in images if not isinstance(image, str)]
            rows = iter(predict(np.stack(good)) if good else [])
            for path, image in zip(chunk, images):
                if isinstance(image, str):
                    yield image, path, None
                else:
                    yield row(path, next(rows), training.class_names, top), path, image


def row(path: Path, probabilities: np.ndarray, names: list[str], top: int) -> Row | str:
    """The `top` most probable classes of a file, or what is wrong with the `probabilities`, float
    (classes,)."""
    if not np.isfinite(probabilities).all():
        return (
            "the model gives probabilities that are no numbers (NaN): its weights are damaged, or "
            "its training failed"
        )
    order = np.argsort(-probabilities, kind="stable")[:top]
    best, *others = [
        {"class": names[number], "probability": round(float(probabilities[number]), 6)}
        for number in order
    ]
    return {"file": str(path), **best, "runners_up": others}
