"""How long a run will take on this machine."""

import time

import numpy as np

from commands.photographing.presets import BATCH
from stages.params.families import Application
from stages.params.recipe import Train
from stages.preparation import splitting
from stages.runtime import progress
from stages.training import backend

OTHER_STAGES = 60  # seconds, beside computing: starts of TensorFlow, export, reports
DECODED = 200  # photographs that are decoded and resized in a second, about


def time_network(architecture: Application, size: int, train: Train) -> tuple[float, float]:
    """Seconds an image of `size` pixels takes to be predicted, and to be trained on."""
    backend.start(train.threads, train.instruction_set)
    import keras

    from stages import architectures
    from stages.training import finetuning

    arguments = architecture.model_dump(include={"network", "top", "arguments"})
    data = {"image_shape": [size, size, 3], "class_names": ["a", "b"]}
    data["rescaling"] = {"scale": [1 / 255] * 3, "offset": [0.0] * 3}
    model = architectures.build("timed", "application", arguments, data)
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
    parts: splitting.Parts, epochs: int, predicted: float, trained: float
) -> float:
    """Seconds from here to the end, from those of an image. The images are predicted twice in all
    by the network as it is and as it is trained, an image and its mirror image then; and once an
    epoch the validation set."""
    images = sum(map(len, parts.values()))
    an_epoch = len(parts["train"]) * trained + len(parts["validation"]) * predicted
    return OTHER_STAGES + images * (2 / DECODED + 2 * predicted) + epochs * an_epoch
