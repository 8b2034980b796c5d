"""Read ``searches/NAME.yaml``, and check it against ``params.yaml``."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commands.pipeline import keys
from commands.searching.schema import Search
from stages import params
from stages.params import Problem
from stages.params.families import FineTuning
from stages.params.fields import suggest
from stages.params.reading import read_yaml
from stages.params.schema import Params
from stages.runtime.errors import UserError

FOLDER = Path("searches")
SECTIONS = ("train", "augment", "preprocess")  # beside the model's own architecture
# of the second phase of a pre-trained network; the first has a recipe of its own
OF_FINE_TUNING = (
    "augment.", "train.optimizer", "train.learning_rate", "train.schedule", "train.epochs",
)  # fmt: skip
# arguments of samplers that are functions or objects: Optuna calls them only after some trials
CODE = ("gamma", "weights", "constraints_func", "independent_sampler")
FIXED = ("train.threads", "train.instruction_set", "train.prediction_batch_size")


def load(name: str) -> tuple[Search, Params, str]:
    """The search called `name`, the parameters that it starts from, and the text of their file.
    Raises `UserError` with file and line for each mistake."""
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if name not in names:
        raise UserError(f"{FOLDER} has no file {name}.yaml. {suggest(name, names)}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UserError(f"{FOLDER}/{name}.yaml: the name may only have letters, digits, - and _")
    path = FOLDER / f"{name}.yaml"
    options = params.load(params.FILE)
    text, base = read_yaml(params.FILE)
    search = params.read_checked(path, Search, lambda search: cross_check(search, options, base))
    return search, options, text


def cross_check(search: Search, options: Params, base: dict[str, Any]) -> Iterator[Problem]:
    """Problems in a search that only show in combination with ``params.yaml`` or Optuna."""
    yield from check_arguments(search, options.seed)
    if search.model not in options.models:
        yield (
            ("model",),
            f"{search.model!r} is not trained: it is not under models in params.yaml. "
            f"{suggest(search.model, options.models)}",
        )
        return
    for key, values in search.space.items():
        faults = (find_value_fault(key, value, base) for value in values.list_to_check())
        if fault := find_key_fault(key, search, options) or next(filter(None, faults), None):
            yield ("space", key), fault


def check_arguments(search: Search, seed: int) -> Iterator[Problem]:
    """What is wrong with the arguments for Optuna's sampler and pruner."""
    from commands.searching import studies  # imports Optuna, which is slow

    faults = dict.fromkeys(CODE, "Optuna takes code here, which a file cannot hold: leave it out")
    faults["seed"] = "it follows from seed in params.yaml: leave it out"
    if mistaken := [name for name in search.sampler_arguments if name in faults]:
        for name in mistaken:
            yield ("sampler_arguments", name), faults[name]
        return
    for key, make in (
        ("sampler_arguments", lambda: studies.make_sampler(search, seed)),
        ("pruner_arguments", lambda: studies.make_pruner(search)),
    ):
        try:
            make()
        except (TypeError, ValueError) as error:
            yield (key,), str(error)


def prunes_by_loss(search: Search) -> bool:
    """Whether trials are pruned by their loss."""
    return search.objective == "validation_loss" and search.pruner != "NopPruner"


def find_key_fault(key: str, search: Search, options: Params) -> str | None:
    """Why a key cannot be searched; None if it can."""
    model, own = search.model, f"architectures.{search.model}."
    if not key.startswith((*(f"{section}." for section in SECTIONS), own)):
        allowed = ", ".join([*(f"{section}.KEY" for section in SECTIONS), f"{own}KEY"])
        return f"this key cannot be searched for {model}. Allowed: {allowed}"
    if key in FIXED:
        return "this key depends on the machine and cannot be searched"
    architecture, fixed = options.architectures[model], ["family", "weights"]
    if architecture.pretrained:
        fixed += ["network", "top"]
        if key == "preprocess.normalisation":
            return f"{model} normalises the pixels itself, as in its own training: leave it out"
        if fault := find_tuning_fault(key, f"{own}fine_tuning", search, architecture.fine_tuning):
            return fault
    if key in [f"{own}{name}" for name in fixed]:
        return "another network is a separate entry under architectures: search within one"
    if key.startswith("train.loss") and prunes_by_loss(search):
        return (
            "trials with different losses cannot be pruned by validation_loss, since an epoch "
            "reports the training's own loss: choose NopPruner or validation_accuracy"
        )
    if parents := [other for other in search.space if key.startswith(f"{other}.")]:
        return f"it is part of {parents[0]}, which is searched too: leave out one"
    return None


def find_tuning_fault(key: str, section: str, search: Search, tuning: FineTuning) -> str | None:
    """Why a key has no effect on a pre-trained network, whose `tuning` is the `section` of
    params.yaml; None if it has one, or another searched key may give it one."""
    if section in search.space:
        return None
    layers, head_epochs = f"{section}.layers", f"{section}.head_epochs"
    if (
        key.startswith((*OF_FINE_TUNING, f"{section}.batch_norm"))
        and tuning.layers == "none"
        and layers not in search.space
    ):
        return f"no layer is fine-tuned, so it has no effect: set {layers} in params.yaml"
    if (
        key == f"{section}.head_learning_rate"
        and not tuning.head_epochs
        and head_epochs not in search.space
    ):
        return f"the head is not trained alone, so it has no effect: set {head_epochs}"
    return None


def find_value_fault(key: str, value: Any, base: dict[str, Any]) -> str | None:
    """What is wrong with a value by the schema of ``params.yaml``; None if nothing is. Conflicts
    with other keys, which may be searched too, are left to the trial."""
    location = tuple(key.split("."))
    try:
        problems = keys.list_problems({key: value}, base)
    except KeyError as error:
        return f"unknown key: params.yaml has no section {error.args[0]}"
    return next((what for where, what in problems if where[: len(location)] == location), None)
