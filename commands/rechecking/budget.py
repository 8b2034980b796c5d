"""Cut a training down for the comparison of two codes: to a few batches, and so few validation
images that early stopping acts within a few epochs."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from stages.params.reading import read_yaml
from stages.params.schema import Recheck
from stages.replications.options import TRAINED
from stages.storage import files
from stages.storage.prepared import PARTS
from stages.training.in_epochs import IN_EPOCHS

ROOT, REPLICATIONS = "dvc.yaml", "replications/dvc.yaml"
PARAMS = {ROOT: Path("params.yaml"), REPLICATIONS: Path("replications/params.yaml")}


@dataclass(frozen=True)
class Cut:
    """The size of a short experiment; `patience` is None if the recipe has no early stopping."""

    batch_size: int
    prediction_batch_size: int
    steps: int  # batches per epoch; the last one is smaller
    epochs: int
    patience: int | None
    images: dict[str, int]  # of each part


def plan_cut(train: dict[str, Any], image_shape: list[int], budget: Recheck) -> Cut:
    """The cut of a recipe, for images of a shape (height, width, channels).

    With early stopping, there are enough epochs for it to act: the validation accuracy of n images
    has n + 1 possible values, so it rises at most n times after the first epoch, each time after at
    most `patience` epochs. If it monitors the validation loss, that soon rises (`cut_data` shifts
    the labels); with training metrics nothing is certain, and `sides.count_epochs` tells.
    """
    height, width = image_shape[:2]
    max_batch = max(2, budget.pixels // (height * width))
    batch_size = min(train["batch_size"], max_batch)
    prediction_batch_size = min(train["prediction_batch_size"], max_batch)
    patience, epochs = train["early_stopping"]["patience"], budget.epochs
    if patience is not None:
        patience = min(patience, budget.patience)
        epochs = (budget.validation_images + 1) * patience + 2
    images = {
        "train": budget.batches * batch_size + max(1, batch_size // 2),
        "validation": budget.validation_images,
        "test": prediction_batch_size + max(1, prediction_batch_size // 2),
    }
    return Cut(batch_size, prediction_batch_size, budget.batches + 1, epochs, patience, images)


def read_recipe(folder: Path, pipeline: str, name: str) -> dict[str, Any]:
    """The complete recipe of a training: the section ``train``, or that of an experiment of the
    replications merged with ``common``."""
    _, content = read_yaml(folder / PARAMS[pipeline])
    if pipeline == ROOT:
        return content["train"]
    common, own = content["common"]["train"], content["experiments"][name]["train"]
    stopping = common["early_stopping"] | own.get("early_stopping", {})
    return common | own | {"early_stopping": stopping}


def cut_params(folder: Path, pipeline: str, name: str, cut: Cut, seed: int | None) -> None:
    """Write the cut into the parameters in `folder`; replications train with `seed` alone."""
    path, recipe = folder / PARAMS[pipeline], read_recipe(folder, pipeline, name)
    _, content = read_yaml(path)
    train = content["train"] if pipeline == ROOT else content["experiments"][name]["train"]
    train |= {
        "batch_size": cut.batch_size,
        "prediction_batch_size": cut.prediction_batch_size,
        "epochs": cut.epochs,
    }
    if cut.patience is not None:
        train["early_stopping"] = train.get("early_stopping", {}) | {"patience": cut.patience}
    train["schedule_arguments"] = shorten_schedule(recipe["schedule_arguments"], cut.steps)
    if pipeline == REPLICATIONS:
        experiment = content["experiments"][name]
        experiment["seeds"] = [seed]
        for other in content["experiments"].values():
            if other.get("starts_from") == f"{TRAINED}/{name}":
                other["seeds"] = [seed]  # must be among those of the row that it starts from
        experiment["budget"] = {  # one image less than `cut_data` leaves, so that images are drawn
            "epochs": cut.epochs,
            "train": cut.images["train"],
            "evaluation": cut.images["test"],
        }
        for key in experiment.keys() & {"keep_model", "keep_optimizer"}:
            experiment[key] = True  # leaves more to compare
    with open(path, "w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)


def shorten_schedule(arguments: dict[str, Any], steps: int) -> dict[str, Any]:
    """The arguments of a learning rate schedule, with each phase (``decay_steps``,
    ``warmup_epochs``, …) at most `steps` batches long, so that all phases run."""
    shortened = {}
    for name, value in arguments.items():
        key = IN_EPOCHS.get(name, name)  # `steps` are about an epoch: cut both to the same length
        if key == "boundaries" and value:
            shortened[key] = list(range(1, len(value) + 1))
        elif key.endswith("_steps") and value:
            shortened[key] = steps if name in IN_EPOCHS else min(value, steps)
        else:
            shortened[key] = value
    return shortened


def cut_data(source: Path, target: Path, cut: Cut, monitor: str, spare: int) -> None:
    """Write a subset of the prepared data in `source` to `target`: of each part as many images as
    the cut has and `spare` more, evenly spaced, since they may be sorted by class.

    If early stopping monitors the validation loss, the validation labels are shifted by one class,
    so that training on the right ones raises it.
    """
    target.mkdir(parents=True)
    description = files.read_json(source / "data.json")
    shutil.copy(source / "data.json", target)
    for part in PARTS:
        images = np.load(source / f"{part}.npy", mmap_mode="r")
        labels = np.load(source / f"{part}_labels.npy")
        count = min(cut.images[part] + spare, len(labels))
        chosen = np.linspace(0, len(labels) - 1, count).astype(int)
        chosen_labels = labels[chosen]
        if part == "validation" and monitor == "val_loss":
            chosen_labels = (chosen_labels + 1) % len(description["class_names"])
        np.save(target / f"{part}.npy", images[chosen])
        np.save(target / f"{part}_labels.npy", chosen_labels)
