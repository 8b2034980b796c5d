"""A model of one revision against a model of another: whether they can be compared, and the
difference with its noise."""

from dataclasses import dataclass
from typing import Any

from commands.reviewing import noise
from commands.reviewing.revisions import Revision, same_test_data
from commands.reviewing.spread import SPREAD, has_provenance
from stages.runtime import escape, progress

NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Verdict:
    """What is said of a model: the verdict, the reason where there is no difference to judge, else
    the difference."""

    words: str
    reason: str = ""
    difference: noise.Difference | None = None
    p: float | None = None  # corrected for the number of models
    spread: noise.Spread | None = None

    def __str__(self) -> str:
        return f"{self.words}: {self.reason}" if self.reason else self.words


def read_spread(revision: Revision) -> dict[str, Any] | None:
    """What ``reports/seed_spread.json`` holds in a revision."""
    return revision.json(str(SPREAD))


def fits(content: dict[str, Any], revision: Revision) -> bool:
    """Whether the spread was measured with the data, the code and the parameters of a revision."""
    return has_provenance(
        content["measured_on"], revision.lock, revision.dataset, list(content["models"])
    )


def choose_spread(base: Revision | None, head: Revision) -> dict[str, Any] | None:
    """The spread that a review judges by: that of the old revision if it belongs to it, since a
    change shall not bring its own yardstick; else that of the new one if it belongs to that; else
    any, of the working tree at last. None where none was measured on the new revision's data."""
    contents = [(one, read_spread(one)) for one in (base, head) if one]
    fitting = [content for one, content in contents if content and fits(content, one)]
    others = [content for _, content in contents] + [
        read_spread(Revision("the working tree", None))
    ]
    return next(
        (one for one in fitting + others if one and one["measured_on"].get("data") == head.data),
        None,
    )


def list_notes(
    content: dict[str, Any] | None, base: Revision, head: Revision, needed: bool = True
) -> list[str]:
    """Sentences on the yardstick: where the spread over seeds is missing, or was measured with code
    or parameters that neither revision has, if it is `needed`; where it is another one now; and
    where the parameters of the review or of the gate are."""
    found = []
    if needed and content is None:
        found.append(
            "The spread over seeds was not measured on this data set. It is assumed to be "
            f"{noise.ASSUMED:g} times the standard error of the test accuracy: `make seed-spread` "
            "measures it."
        )
    elif needed and not any(fits(content, revision) for revision in (base, head)):
        found.append(
            "The spread over seeds is of other code, models or parameters: `make seed-spread` "
            "measures it again."
        )
    of_base, of_head = (read_spread(one) for one in (base, head))
    if of_base and of_head and of_base != of_head:
        which = base if content == of_base else head
        found.append(
            f"{SPREAD} is another one now; differences are judged by that of {which.name}."
        )
    before, after = (read_yardstick(one) for one in (base, head))
    changed = [escape.code(key) for key, value in after.items() if value != before.get(key, value)]
    if changed:
        found.append(f"This revision changes what it is judged by: {', '.join(changed)}.")
    return found


def read_yardstick(revision: Revision) -> dict[str, Any]:
    """The parameters of a revision that a review and the gate judge by, by their dotted keys."""
    return {
        f"{section}.{key}": value
        for section in ("review", "gate", "evaluate")
        if isinstance(content := revision.parameters.get(section), dict)
        for key, value in content.items()
        if section != "evaluate" or key == "calibration_bins"
    }


def list_damages(*revisions: Revision | None) -> list[str]:
    """A sentence for each file that was read until now and could not be understood."""
    return [
        f"{path} in {one.name} is damaged: {what}."
        for one in revisions
        if one
        for path, what in one.damaged.items()
    ]


def find_obstacle(base: Revision, head: Revision, old: str, new: str) -> Verdict | None:
    """Why there is no difference to judge between the model `old` of `base` and the model `new` of
    `head`; None where there is one."""
    sides = ((base, old), (head, new))
    for revision, model in sides:
        if model not in revision.models:
            return Verdict(NOT_COMPARABLE, f"{revision.name} has no results of {model}")
        read = [revision.report(model, name) for name in ("predictions.csv", "training.json")]
        if any(one is None for one in read):
            return Verdict(NOT_COMPARABLE, f"{revision.name} has no predictions of {model}")
    names = [revision.report(model, "training.json")["class_names"] for revision, model in sides]
    if names[0] != names[1]:
        return Verdict(NOT_COMPARABLE, "other classes")
    for revision in (base, head):
        if not any(revision.tested_on):
            return Verdict(
                NOT_COMPARABLE,
                f"what {revision.name} was tested on is not known, dvc.lock does not say it",
            )
    if not same_test_data(base, head):
        return Verdict(NOT_COMPARABLE, "different test data")
    before, after = (revision.report(model, "predictions.csv") for revision, model in sides)
    if not before["actual"].equals(after["actual"]):
        return Verdict(NOT_COMPARABLE, "predictions of other images")
    if head.stale(new) or (base is head and head.stale(old)):
        return Verdict(
            noise.NOT_JUDGED, f"the results in {head.name} are of other code, data or parameters"
        )
    before, after = (one.drop(columns="file", errors="ignore") for one in (before, after))
    return Verdict(noise.SAME) if before.equals(after) else None


def measure_difference(
    base: Revision, head: Revision, old: str, new: str, content: dict[str, Any] | None
) -> tuple[noise.Difference, noise.Spread]:
    """The model `old` of `base` against the model `new` of `head`, between which there is no
    obstacle, with the content of seed_spread.json; and the spread of `new`."""
    sides = ((base, old), (head, new))
    predictions = [revision.report(model, "predictions.csv") for revision, model in sides]
    before, after = (
        noise.find_spread(model, revision.report(model, "training.json"), content)
        if content
        else noise.assume_spread(table)
        for (revision, model), table in zip(sides, predictions)
    )
    return noise.measure(*predictions, (before, after)), after


def judge_models(
    base: Revision, head: Revision, content: dict[str, Any] | None, rate: float
) -> dict[str, Verdict]:
    """The verdict of each model that one of the revisions has results of."""
    names = [*head.models, *(model for model in base.models if model not in head.models)]
    pairs = {name: (name, name) for name in names}
    return judge_pairs(base, head, pairs, content, rate)


def judge_against_selected(
    head: Revision, content: dict[str, Any] | None, rate: float
) -> dict[str, Verdict]:
    """The verdict of each other model of a revision against the one that it selects."""
    pairs = {name: (head.selected, name) for name in head.models if name != head.selected}
    return judge_pairs(head, head, pairs if head.selected else {}, content, rate)


def judge_pairs(
    base: Revision,
    head: Revision,
    pairs: dict[str, tuple[str, str]],
    content: dict[str, Any] | None,
    rate: float,
) -> dict[str, Verdict]:
    """The verdicts of pairs of a model of `base` and one of `head`, corrected for their number."""
    found, measured = {}, {}
    for name, pair in progress.track(pairs.items(), "comparison of models", "models"):
        if obstacle := find_obstacle(base, head, *pair):
            found[name] = obstacle
        else:
            measured[name] = measure_difference(base, head, *pair, content)
    judged = noise.judge([difference for difference, _ in measured.values()], rate)
    for (name, (difference, spread)), (words, p) in zip(measured.items(), judged):
        found[name] = Verdict(words, difference=difference, p=p, spread=spread)
    return {name: found[name] for name in pairs}


def compare_selected(
    base: Revision, head: Revision, content: dict[str, Any] | None, rate: float
) -> str:
    """A sentence where another model is selected than before, with the verdict of the one selected
    now against the one selected before; else nothing."""
    old, new = base.selected, head.selected
    if old == new or not old or not new:
        return ""
    start = f"Another model is selected: {escape.code(new)} now, {escape.code(old)} before"
    if obstacle := find_obstacle(base, head, old, new):
        return f"{start}: {obstacle}."
    one, _ = measure_difference(base, head, old, new, content)
    words, _ = noise.judge([one], rate)[0]
    way = "higher" if one.difference > 0 else "lower"
    sizes = f"{abs(one.difference):.4f} {way}, the noise is {one.noise:.4f}"
    return f"{start}. Its test accuracy is {sizes}: {words}."
