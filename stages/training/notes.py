"""Notes on standard error about trainings that work but are probably not what was intended."""

import csv
import sys
from pathlib import Path

import keras
import numpy as np

from stages.metrics import scores
from stages.params.schema import Train
from stages.training import recipe

OVERFITTED = 0.15  # how far training accuracy may exceed validation accuracy without a note


def warn_of_schedule(train: Train, batches: int) -> None:
    """Note if the learning-rate schedule and the training differ in length by an epoch or more.
    `batches` is their number per epoch."""
    end = recipe.find_schedule_end(train, batches) if train.schedule else None
    if end is not None and abs(end - train.epochs) >= 1:
        note(
            f"train.schedule_arguments: the learning rate changes for {end:.4g} epochs, but "
            f"train.epochs is {train.epochs}"
        )


def warn_of_steps(train: Train, batches: int) -> None:
    """Note if gradients are accumulated over more batches than the training has, so that no weight
    would change. `batches` is their number per epoch."""
    accumulated = train.optimizer_arguments.get("gradient_accumulation_steps") or 1
    if accumulated > (total := batches * train.epochs):
        note(
            f"train.optimizer_arguments.gradient_accumulation_steps is {accumulated}, but the "
            f"training has only {total} batches: no weight will change"
        )


def warn_of_second_softmax(model: keras.Model) -> None:
    """Note if the input of `model`'s classifier is already a softmax."""
    layers = keras.layers
    last = model.get_layer(model.output_names[0]).input._keras_history.operation
    while isinstance(last, layers.Dropout | layers.Flatten | layers.Reshape | layers.Identity):
        last = last.input._keras_history.operation
    if isinstance(last, layers.Softmax) or (
        getattr(last, "activation", None) is keras.activations.softmax
    ):
        note(
            f"{model.name}: its last layer, {last.name}, is a softmax, and the classifier added "
            "after it has its own: a network trains badly through both, so remove the last layer"
        )


def warn_of_chance(name: str, accuracy: float, labels: np.ndarray) -> None:
    """Note if `accuracy` on images with these `labels`, int (images,), is at most two standard
    errors above that of always predicting the most frequent class."""
    share = np.bincount(labels).max() / len(labels)
    if accuracy <= share + 2 * scores.estimate_standard_error(share, len(labels)):
        note(
            f"{name} is not clearly better than chance: its validation accuracy is "
            f"{accuracy:.4f}, and the most frequent class makes up {share:.4f} of the images"
        )


def warn_of_overfitting(name: str, history: Path, epoch: int, accuracy: float) -> None:
    """Note if a model with the weights of `epoch` is much more accurate on its training images, by
    the file `history`, than on the validation images, where it has this `accuracy`."""
    with history.open(newline="", encoding="utf-8") as lines:
        rows = {int(row["epoch"]): row for row in csv.DictReader(lines)}
    training_accuracy = float(rows[epoch]["accuracy"])
    if training_accuracy - accuracy > OVERFITTED:
        note(
            f"{name} overfits: accuracy {training_accuracy:.4f} on its training images, "
            f"{accuracy:.4f} on the validation images; more images, `augment` or a smaller network "
            "help, and for photographs pre-trained weights: python -m commands.photographs"
        )


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
