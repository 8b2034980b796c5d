"""The schema of ``searches/NAME.yaml``: which keys of ``params.yaml`` are searched, and how."""

import math
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, model_validator

from stages.params.fields import Count, Section, one_of

# those of Optuna's classes that need no other package; BruteForceSampler is grid search
SAMPLERS = ("TPESampler", "RandomSampler", "QMCSampler", "BruteForceSampler")
PRUNERS = (
    "NopPruner", "MedianPruner", "PercentilePruner", "HyperbandPruner", "SuccessiveHalvingPruner",
)  # fmt: skip
OBJECTIVES = ("validation_accuracy", "validation_loss")
Scalar = int | float


class Values(Section):
    """The values of a key: one of `choice`, or a number from `low` to `high`: an integer if both
    are; on a logarithmic scale with `log`, or in steps of `step`."""

    choice: Annotated[list[Any], Field(min_length=1)] | None = None
    low: Scalar | None = None
    high: Scalar | None = None
    step: Scalar | None = None
    log: bool = False

    @model_validator(mode="after")
    def check_choice_or_range(self) -> "Values":
        if self.choice is not None:
            if self.model_fields_set != {"choice"}:
                raise ValueError("choice excludes all other keys: these belong to a range")
            if any(value in self.choice[:place] for place, value in enumerate(self.choice)):
                raise ValueError(f"a value occurs twice: {self.choice}")
        elif self.low is None or self.high is None:
            raise ValueError("give choice: [...], or low and high")
        else:
            self.check_range(self.low, self.high)
        return self

    def check_range(self, low: Scalar, high: Scalar) -> None:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"the range is empty: low is {low}, high is {high}")
        if self.log and low <= 0:
            raise ValueError(f"log needs low to be above 0: low is {low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be above 0: it is {self.step}")
        if self.is_whole and isinstance(self.step, float):
            raise ValueError(f"low and high are whole numbers, but step is not: {self.step}")

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> float:
        """The number of values; infinite for a continuous range."""
        if self.choice is not None:
            return len(self.choice)
        if not self.is_whole and self.step is None:
            return math.inf
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def contains(self, value: Any) -> bool:
        """Whether `value` is one of the values."""
        if self.choice is not None:
            return value in self.choice
        if isinstance(value, bool) or not isinstance(value, int if self.is_whole else int | float):
            return False
        steps = (value - self.low) / (self.step or 1)
        on_grid = math.isclose(steps, round(steps), abs_tol=1e-9) or self.step is None
        return self.low <= value <= self.high and on_grid

    def snap(self, value: Any) -> Any:
        """`value`; in a range of floats with steps, rounded to the exact decimal of the step: 0.3,
        not 0.1 + 2 × 0.1, which is 0.30000000000000004 in binary."""
        if self.step is None or self.is_whole:
            return value
        steps = round((value - self.low) / self.step)
        return float(Decimal(str(self.low)) + steps * Decimal(str(self.step)))

    def list_to_check(self) -> list[Any]:
        """The values that params.yaml must accept: the ends of a range, or all of a choice."""
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
    def check_feasible(self) -> "Search":
        if self.confirm_seeds == 1:
            raise ValueError(
                "confirm_seeds is 1, but one seed has no spread: use 2 or more, or 0 to skip the "
                "confirmation"
            )
        if self.sampler == "BruteForceSampler" and math.isinf(self.size):
            raise ValueError("BruteForceSampler tries all values: each range needs a step")
        return self

    @property
    def maximizes(self) -> bool:
        return self.objective == "validation_accuracy"

    @property
    def size(self) -> float:
        """The number of combinations of values in the space."""
        return math.prod(values.size for values in self.space.values())
