"""Read image files within limits, prepare them as in training, and classify them. A fault of one
file is reported for that file, and the others are still classified."""

import math
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

from commands.predicting.finding import has_images
from commands.predicting.schemas import Parameters, Training
from commands.predicting.trained import ROOT
from stages import params
from stages.conversion.checking import Predict
from stages.images.decode import BadImage, decode
from stages.images.resize import resize
from stages.params.schema import Limits
from stages.runtime.processor import count_cores

MAX_BATCH = 64  # images predicted at a time; as many more are decoded meanwhile
MAX_BATCH_BYTES = 32_000_000  # but at least one image
LIMIT = "download.limits.{} in params.yaml"
# raised for pictures within the limit, since `decode` sets Pillow's to half of it
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

Row = dict[str, Any]  # file, class (None: refused), probability, runners_up


def read_limits() -> Limits:
    """The limits on an image file, the same as for training. Raises `UserError`."""
    return params.read_checked(ROOT / "params.yaml", Parameters).download.limits


def read_file(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`. Pipes, devices and sockets are never
    opened: reading them might never end. Raises `BadImage`, or OSError."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        os.scandir(path).close()  # raises if it may not be listed
        if path.is_symlink() and has_images(path):
            raise BadImage("a link to a folder, which is not followed: name that folder")
        raise BadImage("this folder holds no images")
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("not a regular file")
    if status.st_size > max_bytes:
        limit = LIMIT.format("file_bytes")
        raise BadImage(f"{status.st_size:,} bytes, more than {max_bytes:,}, the limit {limit}")
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read(max_bytes)


def prepare(path: Path, training: Training, limits: Limits) -> np.ndarray | str:
    """The image in a file as the network takes it, uint8 (height, width, channels); or a message
    that says what is wrong with the file."""
    try:
        content = read_file(path, limits.file_bytes)
        return prepare_content(content, training, limits.pixels, LIMIT.format("pixels"))
    except OSError as error:
        return error.strerror or str(error)
    except BadImage as error:
        return str(error)
    except MemoryError:
        return "not enough memory for it"


def prepare_content(content: bytes, training: Training, pixels: int, limit: str) -> np.ndarray:
    """The image in a file's content as the network takes it, uint8 (height, width, channels).
    Raises `BadImage`, also for more than `pixels` pixels; `limit` names that limit in the
    message."""
    height, width, channels = training.shape
    image = decode(content, training.decoded_channels, pixels, limit)
    # image_size may be empty, if all training images had the same size: resize to that
    size = height if height == width else None
    image = resize(
        image, training.preprocess.model_copy(update={"channels": channels, "image_size": size})
    )
    if image.shape != (height, width, channels):
        raise BadImage(
            f"the model takes images of {height}×{width} pixels, "
            f"but this one has {image.shape[0]}×{image.shape[1]}"
        )
    return image


def choose_batch_size(training: Training) -> int:
    """The largest number of images to predict at a time."""
    return max(1, min(MAX_BATCH, MAX_BATCH_BYTES // math.prod(training.shape)))


def classify(
    paths: Iterable[Path],
    predict: Predict,
    training: Training,
    top: int,
    confidence: float,
    limits: Limits,
) -> Iterator[tuple[Row | str, Path, np.ndarray | None]]:
    """Yield for each file its row, or a message that says what is wrong; its path; and its image.
    Answers below `confidence` are refused. While the network computes, the next files are decoded,
    one per core."""
    paths = iter(paths)
    batch_size = choose_batch_size(training)
    with ThreadPoolExecutor(count_cores()) as threads:

        def start_batch() -> list[tuple[Path, Future]]:
            return [
                (path, threads.submit(prepare, path, training, limits))
                for path in islice(paths, batch_size)
            ]

        ahead = start_batch()
        while ahead:
            chunk, ahead = ahead, start_batch()
            images = [future.result() for _, future in chunk]
            good = [image for image in images if not isinstance(image, str)]
            predictions = iter(predict(np.stack(good)) if good else [])
            for (path, _), image in zip(chunk, images):
                if isinstance(image, str):
                    yield image, path, None
                else:
                    row = make_row(path, next(predictions), training.class_names, top, confidence)
                    yield row, path, image


def make_row(
    path: Path | str,
    probabilities: np.ndarray,
    names: list[str],
    top: int,
    confidence: float = 0.0,
) -> Row | str:
    """The `top` most probable classes of a file from its `probabilities`, float (classes,), or a
    message if these are NaN. If even the most probable is below `confidence`, all are
    runners-up."""
    if not np.isfinite(probabilities).all():
        return (
            "the model predicts NaN instead of probabilities: its weights are damaged, or its "
            "training failed"
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
