"""What a person should know of a training with which nothing is wrong: notes on standard error."""

import math
import sys

import numpy as np

from stages.params.schema import Train
from stages.training import recipe


def warn_of_schedule(train: Train, batches: int) -> None:
    """Say where the schedule of the learning rate and the training differ in length by an epoch or
    more. An epoch has so many `batches`."""
    end = recipe.find_schedule_end(train, batches) if train.schedule else None
    if end is not None and abs(end - train.epochs) >= 1:
        note(
            f"train.schedule_arguments: the learning rate changes for {end:.4g} epochs, and "
            f"train.epochs is {train.epochs}"
        )


def warn_of_chance(name: str, accuracy: float, labels: np.ndarray) -> None:
    """Say where a model's accuracy on the images with these `labels`, int (images,), is not better
    by two standard errors than always to name the most frequent class."""
    share = np.bincount(labels).max() / len(labels)
    if accuracy <= share + 2 * math.sqrt(share * (1 - share) / len(labels)):
        note(
            f"{name} is no better than chance: its validation accuracy is {accuracy:.4f}, and the "
            f"most frequent class is {share:.4f} of the images"
        )


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
