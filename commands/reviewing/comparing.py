"""Compare a model of one revision with a model of another: whether that is possible, and the
difference with its noise."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from commands.reviewing import noise
from commands.reviewing.revisions import Revision, have_same_test_data
from stages.runtime import escape, progress

NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Verdict:
    """The verdict on a model in words, with the difference, or with the reason why there is none to
    judge."""

    words: str
    reason: str = ""
    difference: noise.Difference | None = None
    p: float | None = None  # corrected for the number of models
    spread: noise.Spread | None = None

    def __str__(self) -> str:
        return f"{self.words}: {self.reason}" if self.reason else self.words


@dataclass(frozen=True)
class Results:
    """The results of a model in a revision."""

    revision: Revision
    model: str

    @property
    def predictions(self) -> pd.DataFrame | None:
        return self.revision.read_report(self.model, "predictions.csv")

    @property
    def training(self) -> dict[str, Any] | None:
        return self.revision.read_report(self.model, "training.json")

    @property
    def is_stale(self) -> bool:
        return self.revision.is_stale(self.model)


def find_obstacle(old: Results, new: Results) -> Verdict | None:
    """Why there is no difference to judge between two models; None if there is one."""
    if reason := find_missing(old) or find_missing(new) or find_mismatch(old, new):
        return Verdict(NOT_COMPARABLE, reason)
    if new.is_stale or (old.revision is new.revision and old.is_stale):
        return Verdict(
            noise.NOT_JUDGED,
            f"the results in {new.revision.name} are of other code, data or parameters",
        )
    before, after = (side.predictions.drop(columns="file", errors="ignore") for side in (old, new))
    return Verdict(noise.SAME) if before.equals(after) else None


def find_missing(results: Results) -> str:
    """What is missing to compare a model; empty if nothing is."""
    revision, model = results.revision, results.model
    if model not in revision.models:
        return f"{revision.name} has no results of {model}"
    if any(report is None for report in (results.predictions, results.training)):
        return f"{revision.name} has no predictions of {model}"
    return ""


def find_mismatch(old: Results, new: Results) -> str:
    """Why the predictions of two models are not for the same classes and images; empty if they
    are."""
    if old.training["class_names"] != new.training["class_names"]:
        return "different classes"
    for revision in (old.revision, new.revision):
        if not any(revision.tested_on):
            return f"dvc.lock does not say which images {revision.name} was tested on"
    if not have_same_test_data(old.revision, new.revision):
        return "different test data"
    if not old.predictions["actual"].equals(new.predictions["actual"]):
        return "predictions of different images"
    return ""


def measure_difference(
    old: Results, new: Results, seed_spread: dict[str, Any] | None
) -> tuple[noise.Difference, noise.Spread]:
    """The difference of the model `new` from `old`, between which there is no obstacle, with the
    noise from `seed_spread`; and the spread of `new`."""
    before, after = (
        noise.find_spread(side.model, side.training, seed_spread)
        if seed_spread
        else noise.assume_spread(side.predictions)
        for side in (old, new)
    )
    return noise.measure(old.predictions, new.predictions, (before, after)), after


def judge_models(
    base: Revision, head: Revision, seed_spread: dict[str, Any] | None, rate: float
) -> dict[str, Verdict]:
    """The verdict on each model that has results in one of the revisions."""
    names = dict.fromkeys([*head.models, *base.models])
    pairs = {name: (Results(base, name), Results(head, name)) for name in names}
    return judge_pairs(pairs, seed_spread, rate)


def judge_against_selected(
    head: Revision, seed_spread: dict[str, Any] | None, rate: float
) -> dict[str, Verdict]:
    """The verdict on each other model of a revision, compared with the selected one."""
    if not head.selected:
        return {}
    selected = Results(head, head.selected)
    others = [name for name in head.models if name != head.selected]
    pairs = {name: (selected, Results(head, name)) for name in others}
    return judge_pairs(pairs, seed_spread, rate)


def judge_pairs(
    pairs: dict[str, tuple[Results, Results]], seed_spread: dict[str, Any] | None, rate: float
) -> dict[str, Verdict]:
    """The verdicts on pairs of an old model and a new one, corrected for their number."""
    verdicts, measured = {}, {}
    for name, pair in progress.track(pairs.items(), "comparison of models", "models"):
        if obstacle := find_obstacle(*pair):
            verdicts[name] = obstacle
        else:
            measured[name] = measure_difference(*pair, seed_spread)
    judged = noise.judge([difference for difference, _ in measured.values()], rate)
    for (name, (difference, spread)), (words, p) in zip(measured.items(), judged):
        verdicts[name] = Verdict(words, difference=difference, p=p, spread=spread)
    return {name: verdicts[name] for name in pairs}


def compare_selected(
    base: Revision, head: Revision, seed_spread: dict[str, Any] | None, rate: float
) -> str:
    """A sentence on a change of the selected model, with the verdict on the new one compared with
    the former; empty if it did not change."""
    old, new = base.selected, head.selected
    if old == new or not old or not new:
        return ""
    sides = Results(base, old), Results(head, new)
    start = f"Another model is selected: {escape.code(new)} now, {escape.code(old)} before"
    if obstacle := find_obstacle(*sides):
        return f"{start}: {obstacle}."
    measured, _ = measure_difference(*sides, seed_spread)
    words, _ = noise.judge([measured], rate)[0]
    sizes = f"{describe_difference(measured.difference)}, the noise is {measured.noise:.4f}"
    return f"{start}. Its test accuracy is {sizes}: {words}."


def describe_difference(difference: float) -> str:
    """A difference of two accuracies, new minus old, in words, such as *0.0123 higher*; *equal* if
    it is 0."""
    if not difference:
        return "equal"
    return f"{abs(difference):.4f} {'higher' if difference > 0 else 'lower'}"
