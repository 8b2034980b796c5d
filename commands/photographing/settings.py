"""The networks that ``commands.photographs`` offers, and the settings for ``params.yaml``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commands.photographing.survey import SPLIT
from commands.pipeline import keys
from stages import params
from stages.params.reading import read_yaml
from stages.params.schema import Source
from stages.preparation.splitting import Parts
from stages.runtime.errors import UserError
from stages.sources import classes
from stages.storage import files

BATCH = 32  # images per step
STEPS = 500  # of fine-tuning, approximately
EPOCHS = (5, 20)  # of fine-tuning: minimum, maximum
# the peak, for SGD with momentum: 0.001, or Adam at 0.0001, destroys the pre-trained features.
# Measured with MobileNet's upper half at 224 pixels on the flowers: validation accuracy 0.87 with
# the head alone; then 0.74 after an epoch at 0.001, but 0.91 after three at 0.0003
LEARNING_RATE = 0.0003
# the ratio of the largest class's images to the smallest's above which classes are weighted
IMBALANCE = 1.5


@dataclass(frozen=True)
class Preset:
    """An architecture of params.yaml with a suitable image size; docs/photographs.md has accuracies
    on 4,317 photographs of five flowers."""

    architecture: str
    image_size: int  # pixels


PRESETS = {
    "small": Preset("pretrained-small", 160),
    "medium": Preset("pretrained-medium", 192),
    "accurate": Preset("pretrained-accurate", 224),
}


def plan_settings(
    path: Path,
    name: str,
    preset: Preset,
    tuned: bool,
    images: classes.Classes,
    parts: Parts,
) -> dict[str, object]:
    """The keys of params.yaml to set, with their values."""
    counts = np.bincount(images.labels[: images.train])
    steps = -(-len(parts["train"]) // BATCH)  # per epoch
    epochs = int(np.clip(round(STEPS / steps), *EPOCHS)) if tuned else 1
    return {
        "dataset": name,
        "download.channels": 3,
        f"datasets.{name}.source": str(path),
        "models": [preset.architecture],
        **{f"split.{key}": value for key, value in SPLIT.items()},
        "preprocess.image_size": preset.image_size,
        "preprocess.aspect": "crop",
        "preprocess.channels": 3,
        "augment.horizontal_flip": True,
        "augment.vertical_flip": False,
        "augment.rotation": 10,
        "augment.zoom": 0.15,
        "augment.width_shift": 0.1,
        "augment.height_shift": 0.1,
        "augment.shear": 0,
        "augment.crop_padding": 0,
        "train.optimizer": "sgd",
        "train.learning_rate": None,
        "train.optimizer_arguments": {"momentum": 0.9},
        "train.schedule": "CosineDecay",
        "train.schedule_arguments": {
            "initial_learning_rate": 0.0,
            "warmup_target": LEARNING_RATE,
            "warmup_epochs": 1,
            "decay_epochs": max(epochs - 1, 1),
        },
        "train.loss": "categorical_crossentropy",
        "train.loss_arguments": {"label_smoothing": 0.1},
        "train.batch_size": BATCH,
        "train.epochs": epochs,
        # the accuracy on few validation images is too coarse to choose an epoch by: on the flowers
        # it chose one of the head alone, before fine-tuning
        "train.early_stopping.monitor": "val_loss",
        "train.early_stopping.patience": None,
        "train.early_stopping.restore_best": "always",
        "train.calibration": "temperature",
        "train.class_weight": "balanced" if counts.max() > IMBALANCE * counts.min() else "none",
    }


def plan_licence(path: Path, name: str, datasets: dict[str, Source]) -> dict[str, object]:
    """The key to empty if the data set `name` has a licence that was given for other photographs
    than those in `path`."""
    known = datasets.get(name)
    if known is None or not known.licence or Path(known.source).resolve() == path.resolve():
        return {}
    return {f"datasets.{name}.licence": None}


def check_settings(settings: dict[str, object]) -> None:
    """Raise `UserError` if the settings conflict with the rest of params.yaml."""
    _, values = read_yaml(params.FILE)
    values["datasets"].setdefault(settings["dataset"], {})
    if fault := keys.find_conflict(settings, values):
        raise UserError(f"params.yaml refuses these settings: {fault}")


def write_settings(settings: dict[str, object]) -> None:
    """Set dotted keys of params.yaml, such as ``train.epochs``."""

    def change(values: dict[str, Any]) -> None:
        values["datasets"].setdefault(settings["dataset"], {})
        keys.set_all(settings, values)

    text = params.FILE.read_text(encoding="utf-8")
    files.write_text(params.FILE, keys.rewrite(text, str(params.FILE), change))
