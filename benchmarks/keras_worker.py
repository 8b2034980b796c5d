"""The Keras side of `throughput.py`: an epoch per turn, in the notebook's way or by this project's
training stage.

usage: keras_worker.py WAY JOB     WAY: a key of KERAS in `throughput.py`, or ceiling; JOB: a file
that `throughput.py` writes

The notebook's way is `model.fit` on float32 arrays in memory, already divided by 255, with Keras's
defaults, the progress bar included. The stage is `stages.training.fitting.train_network` itself, on
a folder as preprocess writes it; stage-plain leaves out what makes it faster and must not change
bits. At its end the stage answers with the SHA-256 of its weights.
"""

import hashlib
import json
import math
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import turns


def flop(model) -> tuple[int, int]:
    """Floating-point operations per image, of multiplications and additions in convolutions and
    dense layers: forward, and training.

    Training computes each layer's output, the gradient of its weights and that of its input; the
    first layer's input needs none.
    """
    forward = []
    for layer in model.layers:
        if type(layer).__name__ == "Conv2D":
            forward.append(2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3]))
        elif type(layer).__name__ == "Dense":
            forward.append(2 * math.prod(layer.kernel.shape))
    return sum(forward), 3 * sum(forward) - forward[0]


def trainable(model) -> int:
    return sum(math.prod(weights.shape) for weights in model.trainable_weights)


def clock():
    """A callback that takes turns by epochs. `rest` is what comes between the validation and the
    next epoch, such as the checkpoint."""
    import keras

    class Clock(keras.callbacks.Callback):
        times = None

        def mark(self):
            self.times.append(turns.clocks())

        def report(self):
            if self.times:
                self.mark()
                turns.answer(turns.spent(self.times))

        def on_epoch_begin(self, epoch, logs=None):
            self.report()
            turns.wait()
            self.times = [turns.clocks()]

        def on_test_begin(self, logs=None):
            self.mark()

        def on_test_end(self, logs=None):
            self.mark()

        def on_train_end(self, logs=None):
            self.report()

    return Clock()


def notebook(job, prepared) -> None:
    from importlib import import_module

    import keras

    from stages import architectures
    from stages.params.recipe import Train
    from stages.training import recipe

    train = Train.model_validate(job["train"])
    arguments = dict(job["architecture"])
    inputs = keras.Input(prepared.description["image_shape"])
    features = import_module(f"stages.architectures.{arguments.pop('family')}").network(
        inputs, **arguments
    )
    model = keras.Model(
        inputs,
        architectures.add_classifier(
            features, "probability", len(prepared.description["class_names"])
        ),
    )
    turns.answer({"parameters": trainable(model), "flop": flop(model)})
    batches = -(-len(prepared.labels("train")) // train.batch_size)
    model.compile(
        recipe.build_optimizer(train, batches), recipe.build_loss(train), metrics=["accuracy"]
    )
    classes = (
        None if recipe.takes_class_numbers(train) else len(prepared.description["class_names"])
    )
    data = {}
    for part in ("train", "validation"):
        labels = prepared.labels(part)
        images = prepared.images(part).astype("float32") / 255
        data[part] = images, labels if classes is None else np.eye(classes, dtype="float32")[labels]
    model.fit(
        *data["train"],
        train.batch_size,
        train.epochs,
        callbacks=[clock()],
        validation_data=data["validation"],
    )


def stage(job, prepared) -> None:
    from stages.params.families import Architecture
    from stages.params.recipe import Train
    from stages.params.schema import Augment
    from stages.training import fitting, heads
    from stages.training.experiment import Experiment
    from stages.training.network import build_network

    original = heads.MultiHeadModel.fit

    def with_clock(self, *arguments, callbacks, **options):
        turns.answer({"parameters": trainable(self), "flop": flop(self)})
        return original(self, *arguments, callbacks=[clock(), *callbacks], **options)

    heads.MultiHeadModel.fit = with_clock
    from pydantic import TypeAdapter

    architecture = TypeAdapter(Architecture).validate_python(job["architecture"])
    experiment = Experiment(
        job["name"],
        1,
        architecture,
        Augment.model_validate(job["augment"]),
        Train.model_validate(job["train"]),
    )
    with tempfile.TemporaryDirectory() as folder:
        network = build_network(experiment, prepared)
        checkpoint = Path(folder) / "checkpoint.npz"
        fitting.train_network(experiment, network, prepared, Path(folder), checkpoint)
    turns.answer(
        {
            "weights": hashlib.sha256(
                b"".join(weights.tobytes() for weights in network.saved.get_weights())
            ).hexdigest()
        }
    )


def start_without_what_must_not_change_bits(threads: int) -> None:
    """One batch between two returns to Python, no reading ahead, Linux's default scheduling, one
    operation at a time, freed memory given back; starts Keras."""
    from stages.training import backend

    backend.OPERATIONS_AT_A_TIME = 1
    backend.keep_freed_memory = lambda: None
    backend.start(threads)
    from stages.training import batches, compiling

    compiling.STEPS_PER_EXECUTION = 1
    batches.read_ahead = lambda images, places: None
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def ceiling(job) -> None:
    import tensorflow as tf

    side = job["side"]
    turns.answer({"tensorflow": tf.__version__})
    matrices = {}
    for name in ("float32", "bfloat16"):
        matrices[name] = tf.cast(np.random.default_rng(0).normal(size=(side, side)), name)
    while True:
        turns.wait()
        product = {
            name: lambda matrix=matrix: tf.linalg.matmul(matrix, matrix)[0, 0].numpy()
            for name, matrix in matrices.items()
        }
        turns.answer(
            {name: turns.product_rate(multiply, side) for name, multiply in product.items()}
        )


def main(way: str, job_file: str) -> None:
    job = json.loads(Path(job_file).read_text())
    if way == "stage-plain":
        start_without_what_must_not_change_bits(job["train"]["threads"])
    elif way.startswith("stage") or way == "ceiling":
        from stages.training import backend

        backend.start(job["train"]["threads"])
    elif way == "notebook-batch":
        turns.as_batch_job()
    if way == "ceiling":
        return ceiling(job)
    from stages.storage.prepared import Prepared

    if way == "stage-bfloat16":
        job["train"]["precision"] = "mixed_bfloat16"
    (stage if way.startswith("stage") else notebook)(job, Prepared(Path(job["folder"])))


if __name__ == "__main__":
    main(*sys.argv[1:])
