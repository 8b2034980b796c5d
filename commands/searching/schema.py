"""The schema of ``searches/NAME.yaml``: which keys of ``params.yaml`` are searched, and how."""

import copy
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from stages import params
from stages.params import Problem
from stages.params.reading import read_yaml
from stages.params.schema import Count, Params, Section, one_of, suggest
from stages.runtime.errors import UserError

FOLDER = Path("searches")
PARAMS = Path("params.yaml")
# Optuna's classes, those that need no further package; grid search is BruteForceSampler
SAMPLERS = ("TPESampler", "RandomSampler", "QMCSampler", "BruteForceSampler")
PRUNERS = (
    "NopPruner", "MedianPruner", "PercentilePruner", "HyperbandPruner", "SuccessiveHalvingPruner",
)  # fmt: skip
OBJECTIVES = ("validation_accuracy", "validation_loss")
SECTIONS = ("train", "augment", "preprocess")  # beside the model's own architecture
FIXED = ("train.threads", "train.instruction_set", "train.prediction_batch_size")
Scalar = int | float


class Values(Section):
    """What one key may take: one of `choice`, or a number from `low` to `high`: whole where both
    are, on a logarithmic scale with `log`, else in steps of `step`."""

    choice: Annotated[list[Any], Field(min_length=1)] | None = None
    low: Scalar | None = None
    high: Scalar | None = None
    step: Scalar | None = None
    log: bool = False

    @model_validator(mode="after")
    def is_choice_or_range(self) -> "Values":
        if self.choice is not None:
            if self.model_fields_set != {"choice"}:
                raise ValueError("choice stands alone: the other keys belong to a range")
            if any(one in self.choice[:place] for place, one in enumerate(self.choice)):
                raise ValueError(f"a value is named twice: {self.choice}")
        elif self.low is None or self.high is None:
            raise ValueError("give choice: [...], or low and high")
        else:
            self.check_range(self.low, self.high)
        return self

    def check_range(self, low: Scalar, high: Scalar) -> None:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"the range is empty: low is {low}, high is {high}")
        if self.log and low <= 0:
            raise ValueError(f"log needs low above 0, which has no logarithm: low is {low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be above 0: it is {self.step}")
        if self.is_whole and isinstance(self.step, float):
            raise ValueError(f"low and high are whole numbers, and step is not: {self.step}")

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> float:
        """How many values there are; infinity of a range without steps."""
        if self.choice is not None:
            return len(self.choice)
        if not self.is_whole and self.step is None:
            return math.inf
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    @property
    def extremes(self) -> list[Any]:
        return [self.low, self.high] if self.choice is None else self.choice


class Search(Section):
    """The whole of ``searches/NAME.yaml``."""

    model: str
    objective: one_of(*OBJECTIVES)
    trials: Count
    minutes: Annotated[Scalar, Field(gt=0)] | None
    sampler: one_of(*SAMPLERS)
    sampler_arguments: dict[str, bool | int | float | None]
    pruner: one_of(*PRUNERS)
    pruner_arguments: dict[str, bool | int | float | str | None]
    seeds: Count
    confirm_seeds: Annotated[int, Field(ge=0)]
    space: Annotated[dict[str, Values], Field(min_length=1)]

    @model_validator(mode="after")
    def sees_a_spread(self) -> "Search":
        if self.confirm_seeds == 1:
            raise ValueError(
                "confirm_seeds is 1: one seed shows no spread; take two or more, or 0 to leave "
                "the confirmation out"
            )
        if self.sampler == "BruteForceSampler" and math.isinf(self.size):
            raise ValueError("BruteForceSampler tries all values: each range needs a step")
        return self

    @property
    def maximizes(self) -> bool:
        return self.objective == "validation_accuracy"

    @property
    def size(self) -> float:
        """How many combinations of values the space has."""
        return math.prod(values.size for values in self.space.values())


def load(name: str) -> tuple[Search, Params]:
    """The search called `name` and the parameters that it starts from. Raises `UserError` with file
    and line for each mistake."""
    found = sorted(one.stem for one in FOLDER.glob("*.yaml"))
    if name not in found:
        raise UserError(f"{FOLDER} has no file {name}.yaml. {suggest(name, found)}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UserError(f"{FOLDER}/{name}.yaml: name it with letters, digits, - and _ alone")
    path = FOLDER / f"{name}.yaml"
    options = params.load(PARAMS)
    _, base = read_yaml(PARAMS)
    return params.checked(path, Search, lambda search: cross_check(search, options, base)), options


def cross_check(search: Search, options: Params, base: dict[str, Any]) -> Iterator[Problem]:
    """What only ``params.yaml`` can tell."""
    if search.model not in options.models:
        yield (
            ("model",),
            f"{search.model!r} is not trained: it is not in models of params.yaml. "
            f"{suggest(search.model, options.models)}",
        )
        return
    for key, values in search.space.items():
        if fault := key_fault(key, search.model, options):
            yield ("space", key), fault
            continue
        for value in values.extremes:
            if fault := value_fault(key, value, base):
                yield ("space", key), fault
                break


def key_fault(key: str, model: str, options: Params) -> str | None:
    """Why a key cannot be searched; None where it can."""
    own = f"architectures.{model}."
    if not key.startswith((*(f"{one}." for one in SECTIONS), own)):
        allowed = ", ".join([*(f"{one}.KEY" for one in SECTIONS), f"{own}KEY"])
        return f"this key cannot be searched for {model}. Allowed: {allowed}"
    if key in FIXED:
        return "this key is about the machine, and is not searched"
    pretrained = getattr(options.architectures[model], "weights", None)
    if key in (f"{own}{one}" for one in ("family", "weights")) or (
        pretrained and key in (f"{own}{one}" for one in ("network", "top"))
    ):
        return "another network is another entry under architectures: search within one"
    return None


def value_fault(key: str, value: Any, base: dict[str, Any]) -> str | None:
    """What the schema of ``params.yaml`` has against a value; None where it has nothing. Conflicts
    with other keys, which may be searched too, are left to the trial."""
    place = tuple(key.split("."))
    values = apply({key: value}, base)
    if values is None:
        return f"unknown key: params.yaml has no section {'.'.join(place[:-1])}"
    try:
        Params.model_validate(values)
    except ValidationError as error:
        for details in error.errors():
            keys, what = params.explain(details, values, Params)
            if keys[: len(place)] == place:
                return what
    return None


def apply(settings: dict[str, Any], base: dict[str, Any]) -> dict[str, Any] | None:
    """A copy of the values of ``params.yaml`` with `settings` by dotted key; None where a section
    is missing."""
    values = copy.deepcopy(base)
    for key, value in settings.items():
        *sections, last = key.split(".")
        place = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            return None
        place[last] = value
    return values


def look_up(key: str, base: dict[str, Any]) -> Any:
    """The value of a dotted key; None where there is none."""
    place: Any = base
    for one in key.split("."):
        place = place.get(one) if isinstance(place, dict) else None
    return place


def leave_out(keys: Iterable[str], base: dict[str, Any]) -> dict[str, Any]:
    """A copy of the values of ``params.yaml`` without some dotted keys."""
    values = copy.deepcopy(base)
    for key in keys:
        section, _, last = key.rpartition(".")
        place = look_up(section, values)
        if isinstance(place, dict):
            place.pop(last, None)
    return values
