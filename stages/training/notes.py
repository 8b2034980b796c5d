"""What a person should know of a training with which nothing is wrong: notes on standard error."""

import csv
import sys
from pathlib import Path

import keras
import numpy as np

from stages.metrics import scores
from stages.params.schema import Train
from stages.training import recipe

OVERFITTED = 0.15  # of accuracy on the training images above that on others


def warn_of_schedule(train: Train, batches: int) -> None:
    """Say where the schedule of the learning rate and the training differ in length by an epoch or
    more. An epoch has so many `batches`."""
    end = recipe.find_schedule_end(train, batches) if train.schedule else None
    if end is not None and abs(end - train.epochs) >= 1:
        note(
            f"train.schedule_arguments: the learning rate changes for {end:.4g} epochs, and "
            f"train.epochs is {train.epochs}"
        )


def warn_of_steps(train: Train, batches: int) -> None:
    """Say where gradients are gathered over more batches than the training has, `batches` an epoch:
    no weight would change."""
    gathered = train.optimizer_arguments.get("gradient_accumulation_steps") or 1
    if gathered > (steps := batches * train.epochs):
        note(
            f"train.optimizer_arguments.gradient_accumulation_steps is {gathered}, and the "
            f"training has {steps} batches: no weight will change"
        )


def warn_of_second_softmax(model: keras.Model) -> None:
    """Say where what the classifier of `model` gets are probabilities already."""
    layers = keras.layers
    last = model.get_layer(model.output_names[0]).input._keras_history.operation
    while isinstance(last, layers.Dropout | layers.Flatten | layers.Reshape | layers.Identity):
        last = last.input._keras_history.operation
    if isinstance(last, keras.layers.Softmax) or (
        getattr(last, "activation", None) is keras.activations.softmax
    ):
        note(
            f"{model.name}: its last layer, {last.name}, is a softmax, and the classifier is added "
            "behind it, with a softmax of its own: a network learns badly through both, so leave "
            "the last layer out"
        )


def warn_of_chance(name: str, accuracy: float, labels: np.ndarray) -> None:
    """Say where a model's accuracy on the images with these `labels`, int (images,), is not at
    least two standard errors above that of naming the most frequent class each time."""
    share = np.bincount(labels).max() / len(labels)
    if accuracy <= share + 2 * scores.estimate_standard_error(share, len(labels)):
        note(
            f"{name} is not clearly better than chance: its validation accuracy is "
            f"{accuracy:.4f}, and the most frequent class is {share:.4f} of the images"
        )


def warn_of_overfitting(name: str, history: Path, epoch: int, accuracy: float) -> None:
    """Say where a model with the weights of `epoch` is much better, by the file `history`, on its
    training images than on the validation images, where it has this `accuracy`."""
    with history.open(newline="", encoding="utf-8") as lines:
        rows = {int(row["epoch"]): row for row in csv.DictReader(lines)}
    learnt = float(rows[epoch]["accuracy"])
    if learnt - accuracy > OVERFITTED:
        note(
            f"{name} overfits: accuracy {learnt:.4f} on its training images, "
            f"{accuracy:.4f} on the validation images; more images, `augment` or a smaller network "
            "help, and for photographs pre-trained weights: python -m commands.photographs"
        )


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
