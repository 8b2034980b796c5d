"""How long a run will take on this machine."""

import contextlib
import time
from pathlib import Path

import numpy as np

from commands.photographing.settings import BATCH
from stages.images.decode import BadImage, decode
from stages.images.resize import resized
from stages.params.families import Application
from stages.params.recipe import Train
from stages.params.schema import Params
from stages.preparation import splitting
from stages.runtime import progress
from stages.sources import archives, classes
from stages.training import backend

OTHER_STAGES = 60  # seconds, beside computing: starts of TensorFlow, export, reports
DECODED = 0.03  # seconds to decode and resize a photograph, for each megabyte of its file, about
SAMPLE = 8  # photographs that are decoded to measure it


def time_decoding(path: Path, images: classes.Classes, options: Params, size: int) -> float:
    """Seconds to decode one of the `images` at `path` and to resize it to `size` pixels, by some of
    them; by their size in a tar file, which would be read once through."""
    if archives.find_kind(path) == "tar":
        return DECODED * float(np.mean(images.sizes)) / 1e6
    places = np.linspace(0, len(images.names) - 1, min(SAMPLE, len(images.names))).astype(int)
    wanted = {images.prefix + images.names[place]: images.sizes[place] for place in places}
    prepared = options.preprocess.model_copy(update={"image_size": size, "aspect": "crop"})
    contents = list(archives.read_contents(path, wanted))
    before = time.perf_counter()
    for _, content in contents:
        with contextlib.suppress(BadImage):  # which is refused, or left out, later
            resized(decode(content, 3, options.download.limits.pixels), prepared)
    return (time.perf_counter() - before) / len(contents)


def time_network(
    architecture: Application, size: int, train: Train, weights: Path | None
) -> tuple[float, float]:
    """Seconds an image of `size` pixels takes to be predicted, and to be trained on. Raises
    `UserError` where the file `weights`, if it is here, is not the network's."""
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
    computed = (
        lambda: model.predict_on_batch(images),
        lambda: model.train_on_batch(images, labels),
    )
    for compute in progress.track(computed, "speed of this machine", "batches"):
        compute()
        before = time.perf_counter()
        compute()
        seconds.append((time.perf_counter() - before) / BATCH)
    keras.utils.clear_session()
    return seconds[0], seconds[1]


def estimate_seconds(
    parts: splitting.Parts, epochs: int, decoded: float, predicted: float, trained: float
) -> float:
    """Seconds from here to the end, from those of an image. The images are decoded twice, to check
    and to prepare them, and predicted twice in all by the network as it is and as it is trained, an
    image and its mirror image then; and once an epoch the validation set."""
    images = sum(map(len, parts.values()))
    an_epoch = len(parts["train"]) * trained + len(parts["validation"]) * predicted
    return OTHER_STAGES + images * 2 * (decoded + predicted) + epochs * an_epoch
