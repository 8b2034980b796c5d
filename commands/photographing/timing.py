"""Estimate how long a run will take on this machine."""

import contextlib
import time
from pathlib import Path

import numpy as np

from commands.photographing.settings import BATCH
from stages.images.decode import BadImage, decode
from stages.images.resize import resize
from stages.params.families import Application
from stages.params.recipe import Train
from stages.params.schema import Params
from stages.preparation.splitting import Parts
from stages.runtime import progress, threads
from stages.sources import archives, classes
from stages.training import backend

OVERHEAD = 60  # seconds besides computing: starting TensorFlow, export, reports
DECODING = 0.03  # seconds to decode and resize a photograph, per megabyte, approximately
SAMPLE = 8  # photographs that are decoded to measure it


def time_decoding(path: Path, images: classes.Classes, options: Params, size: int) -> float:
    """Seconds per image to decode the `images` at `path` and resize them to `size` pixels, by all
    threads together: measured on a sample; for a tar file, which would have to be read in full,
    estimated from the file sizes."""
    if archives.find_kind(path) == "tar":
        return DECODING * float(np.mean(images.sizes)) / 1e6 / threads.count_threads()
    numbers = np.linspace(0, len(images.names) - 1, min(SAMPLE, len(images.names))).astype(int)
    sample = {images.prefix + images.names[number]: images.sizes[number] for number in numbers}
    preprocess = options.preprocess.model_copy(update={"image_size": size, "aspect": "crop"})
    contents = list(archives.read_contents(path, sample))
    started = time.perf_counter()
    for _, content in contents:
        with contextlib.suppress(BadImage):  # refused, or left out, later
            resize(decode(content, 3, options.download.limits.pixels), preprocess)
    return (time.perf_counter() - started) / len(contents) / threads.count_threads()


def time_network(
    architecture: Application, size: int, train: Train, weights: Path | None
) -> tuple[float, float]:
    """Seconds to predict an image of `size` pixels, and to train on it. Raises `UserError` if the
    file `weights`, if given, does not fit the network."""
    backend.start(train.threads, train.instruction_set)
    import keras

    from stages import architectures
    from stages.architectures import application
    from stages.training import finetuning

    arguments = architecture.model_dump(include={"network", "top", "arguments"})
    data = {"image_shape": [size, size, 3], "class_names": ["a", "b"]}
    data["rescaling"] = {"scale": [1 / 255] * 3, "offset": [0.0] * 3}
    model = architectures.build("timed", "application", arguments, data)
    if weights:
        application.load(model, weights, architecture.network, architecture.top)
    finetuning.freeze(model, architecture.fine_tuning, "timed")
    model.compile("sgd", "sparse_categorical_crossentropy")
    images, labels = np.zeros((BATCH, size, size, 3), np.uint8), np.zeros(BATCH, int)
    seconds = []
    steps = (
        lambda: model.predict_on_batch(images),
        lambda: model.train_on_batch(images, labels),
    )
    for run_step in progress.track(steps, "speed of this machine", "batches"):
        run_step()  # warm up: compile the graph
        started = time.perf_counter()
        run_step()
        seconds.append((time.perf_counter() - started) / BATCH)
    keras.utils.clear_session()
    return seconds[0], seconds[1]


def estimate_seconds(
    parts: Parts, epochs: int, decoding: float, prediction: float, training: float
) -> float:
    """Seconds of the whole run, from the seconds per image. Each image is decoded twice, for the
    check and for the preparation, and counted as predicted twice; the validation set is also
    predicted once per epoch."""
    images = sum(map(len, parts.values()))
    epoch = len(parts["train"]) * training + len(parts["validation"]) * prediction
    return OVERHEAD + images * 2 * (decoding + prediction) + epochs * epoch
