"""The image files to classify: found, read within limits, and prepared as in training. What is
wrong with one file is said of that file, and the others go on."""

import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from commands.predicting.trained import ROOT, Part, Training
from stages import params
from stages.conversion.checking import Predict
from stages.images.decode import BadImage, decode
from stages.images.naming import is_hidden, is_image_file
from stages.images.resize import resized
from stages.params.schema import Limits
from stages.runtime.processor import count_cores

BATCH = 64  # images that are predicted at a time, at most; as many more are decoded meanwhile
BATCH_BYTES = 32_000_000  # of them; one image, where that has more
LIMIT = "download.limits.{} in params.yaml"
# of pictures within the limit, of which `decode` tells Pillow half
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

Row = dict[str, Any]  # file, class (None: refused), probability, runners_up


class Download(Part):
    limits: Limits


class Parameters(Part):
    """What predict reads of params.yaml, whatever else it holds."""

    download: Download


def read_limits() -> Limits:
    """What an image file may hold at most: for prediction the same as for training. Raises
    `UserError`."""
    return params.checked(ROOT / "params.yaml", Parameters).download.limits


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to classify: those named, and of folders all whose suffix is an image's, at any
    depth, sorted. Inside folders, what systems leave behind is passed over, as in training. Folders
    that cannot be listed, or hold no images, are among them: `read` says what is wrong."""
    for path in paths:
        if not is_folder(path):
            yield path
            continue
        yield from sorted(list_folder(path)) or [path]


def list_folder(path: Path) -> list[Path]:
    """The images in a folder at any depth, and the folders below it that cannot be listed, or are
    links to others with images, which are not followed."""
    found, unlisted = [], []
    for place, folders, names in os.walk(path, onerror=unlisted.append):
        folders[:] = [name for name in folders if not is_hidden(f"{name}/")]
        links = (one for name in folders if (one := Path(place, name)).is_symlink())
        found += [one for one in links if holds_images(one)]
        found += [Path(place, name) for name in names if is_image_file(name)]
    return found + [Path(error.filename) for error in unlisted]


def holds_images(folder: Path) -> bool:
    """Whether there is an image in a folder, at any depth; links below it are not followed."""
    return any(is_image_file(name) for _, _, names in os.walk(folder) for name in names)


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long
        return False


def read(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. A pipe, a device or a socket is never
    opened: to read it may never end. Raises `BadImage`, or OSError."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        os.scandir(path).close()  # where it may not be listed, that is what is wrong
        if path.is_symlink() and holds_images(path):
            raise BadImage("a link to a folder, which is not followed: name that folder")
        raise BadImage("this folder holds no images")
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("not a regular file")
    if status.st_size > most:
        limit = LIMIT.format("file_bytes")
        raise BadImage(f"{status.st_size:,} bytes, more than {most:,}, the limit {limit}")
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read(most)


def prepare(path: Path, training: Training, limits: Limits) -> np.ndarray | str:
    """The image in a file as the network takes it, uint8 (height, width, channels); or what is
    wrong with the file."""
    try:
        content = read(path, limits.file_bytes)
        return prepare_content(content, training, limits.pixels, LIMIT.format("pixels"))
    except OSError as error:
        return error.strerror or str(error)
    except BadImage as error:
        return str(error)
    except MemoryError:
        return "not enough memory for it"


def prepare_content(content: bytes, training: Training, pixels: int, limit: str) -> np.ndarray:
    """The image in the content of a file as the network takes it, uint8 (height, width, channels).
    Raises `BadImage`, above all for more than `pixels` pixels; `limit` says whose limit that is."""
    height, width, channels = training.shape
    image = decode(content, training.decoded_channels, pixels, limit)
    # training may have kept the size that all its images had: another one is brought to it
    size = height if height == width else None
    image = resized(
        image, training.preprocess.model_copy(update={"channels": channels, "image_size": size})
    )
    if image.shape != (height, width, channels):
        raise BadImage(
            f"the model takes images of {height}×{width} pixels, "
            f"and this one has {image.shape[0]}×{image.shape[1]}"
        )
    return image


def batch_size(training: Training) -> int:
    """How many images are predicted at a time, at most."""
    return max(1, min(BATCH, BATCH_BYTES // int(np.prod(training.shape))))


def classify(
    paths: Iterable[Path],
    predict: Predict,
    training: Training,
    top: int,
    confidence: float,
    limits: Limits,
) -> Iterator[tuple[Row | str, Path, np.ndarray | None]]:
    """For each file its row, or what is wrong with it; the file; and its image. Answers below
    `confidence` are refused. While the network computes, the next files are decoded, one on each
    core."""
    paths = iter(paths)
    batch = batch_size(training)
    with ThreadPoolExecutor(count_cores()) as threads:

        def begin() -> list[tuple[Path, Future]]:
            return [
                (path, threads.submit(prepare, path, training, limits))
                for path in islice(paths, batch)
            ]

        ahead = begin()
        while ahead:
            chunk, ahead = ahead, begin()
            images = [future.result() for _, future in chunk]
            good = [image for image in images if not isinstance(image, str)]
            rows = iter(predict(np.stack(good)) if good else [])
            for (path, _), image in zip(chunk, images):
                if isinstance(image, str):
                    yield image, path, None
                else:
                    found = row(path, next(rows), training.class_names, top, confidence)
                    yield found, path, image


def row(
    path: Path | str,
    probabilities: np.ndarray,
    names: list[str],
    top: int,
    confidence: float = 0.0,
) -> Row | str:
    """The `top` most probable classes of a file, or what is wrong with the `probabilities`, float
    (classes,). Where even the most probable is below `confidence`, all are runners-up."""
    if not np.isfinite(probabilities).all():
        return (
            "the model gives probabilities that are no numbers (NaN): its weights are damaged, or "
            "its training failed"
        )
    order = np.argsort(-probabilities, kind="stable")[:top]
    classes = [
        {"class": names[number], "probability": round(float(probabilities[number]), 6)}
        for number in order
    ]
    best, *others = classes
    if best["probability"] < confidence:
        best, others = best | {"class": None}, classes
    return {"file": str(path), **best, "runners_up": others}
