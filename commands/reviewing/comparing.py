"""Compare a model of one revision with a model of another: whether that is possible, and the
difference with its noise."""

from dataclasses import dataclass
from typing import Any

from commands.reviewing import noise
from commands.reviewing.revisions import Revision, have_same_test_data
from commands.reviewing.spread import SPREAD, has_provenance
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


def read_spread(revision: Revision) -> dict[str, Any] | None:
    """The content of ``reports/seed_spread.json`` in a revision."""
    return revision.read_json(str(SPREAD))


def is_measured_on(seed_spread: dict[str, Any], revision: Revision) -> bool:
    """Whether a spread was measured with the data, the code and the parameters of a revision."""
    return has_provenance(
        seed_spread["measured_on"], revision.lock, revision.dataset, list(seed_spread["models"])
    )


def choose_spread(
    base: Revision | None, head: Revision
) -> tuple[dict[str, Any] | None, Revision | None]:
    """The spread that a review judges by, and the revision that has it: that of `base` if it was
    measured on `base`, since a change must not bring its own yardstick; else that of `head` if it
    was measured on `head`; else any other, the working tree's last. None and None if none was
    measured on the data of `head`."""
    sides = [(read_spread(revision), revision) for revision in (base, head) if revision]
    fitting = [side for side in sides if side[0] and is_measured_on(*side)]
    tree = Revision("the working tree", None)
    for seed_spread, revision in (*fitting, *sides, (read_spread(tree), tree)):
        if seed_spread and seed_spread["measured_on"].get("data") == head.data:
            return seed_spread, revision
    return None, None


def list_notes(
    seed_spread: dict[str, Any] | None,
    source: Revision | None,
    base: Revision,
    head: Revision,
    needed: bool = True,
) -> list[str]:
    """Sentences on the yardstick, the `seed_spread` of the revision `source`: if it is `needed` and
    was not measured, or not with the code and parameters of either revision; if it changed; and if
    parameters of the review or the gate changed."""
    notes = []
    if needed and seed_spread is None:
        notes.append(
            "The spread over seeds was not measured on this data set. It is assumed to be "
            f"{noise.ASSUMED:g} times the standard error of the test accuracy: `make seed-spread` "
            "measures it."
        )
    elif needed and not any(is_measured_on(seed_spread, revision) for revision in (base, head)):
        notes.append(
            "The spread over seeds was measured with other code, models or parameters: `make "
            "seed-spread` measures it again."
        )
    of_base, of_head = read_spread(base), read_spread(head)
    if source and of_base and of_head and of_base != of_head:
        notes.append(f"{SPREAD} has changed; differences are judged by that of {source.name}.")
    before, after = read_yardstick(base), read_yardstick(head)
    changed = [escape.code(key) for key, value in after.items() if value != before.get(key, value)]
    if changed:
        notes.append(f"This revision changes what it is judged by: {', '.join(changed)}.")
    return notes


def read_yardstick(revision: Revision) -> dict[str, Any]:
    """The parameters by which the review and the gate judge a revision, by their dotted keys."""
    return {
        f"{section}.{key}": value
        for section in ("review", "gate", "evaluate")
        if isinstance(content := revision.parameters.get(section), dict)
        for key, value in content.items()
        if section != "evaluate" or key == "calibration_bins"
    }


def list_damages(*revisions: Revision | None) -> list[str]:
    """A sentence for each damaged file among those that were read so far."""
    return [
        f"{path} in {revision.name} is damaged: {fault}."
        for revision in revisions
        if revision
        for path, fault in revision.damaged.items()
    ]


def find_obstacle(base: Revision, head: Revision, old: str, new: str) -> Verdict | None:
    """Why there is no difference to judge between the model `old` of `base` and the model `new` of
    `head`; None if there is one."""
    sides = ((base, old), (head, new))
    for revision, model in sides:
        if model not in revision.models:
            return Verdict(NOT_COMPARABLE, f"{revision.name} has no results of {model}")
        reports = [
            revision.read_report(model, name) for name in ("predictions.csv", "training.json")
        ]
        if any(report is None for report in reports):
            return Verdict(NOT_COMPARABLE, f"{revision.name} has no predictions of {model}")
    old_names, new_names = (
        revision.read_report(model, "training.json")["class_names"] for revision, model in sides
    )
    if old_names != new_names:
        return Verdict(NOT_COMPARABLE, "different classes")
    for revision in (base, head):
        if not any(revision.tested_on):
            return Verdict(
                NOT_COMPARABLE,
                f"dvc.lock does not say which images {revision.name} was tested on",
            )
    if not have_same_test_data(base, head):
        return Verdict(NOT_COMPARABLE, "different test data")
    before, after = (revision.read_report(model, "predictions.csv") for revision, model in sides)
    if not before["actual"].equals(after["actual"]):
        return Verdict(NOT_COMPARABLE, "predictions of different images")
    if head.is_stale(new) or (base is head and head.is_stale(old)):
        return Verdict(
            noise.NOT_JUDGED, f"the results in {head.name} are of other code, data or parameters"
        )
    before, after = (table.drop(columns="file", errors="ignore") for table in (before, after))
    return Verdict(noise.SAME) if before.equals(after) else None


def measure_difference(
    base: Revision, head: Revision, old: str, new: str, seed_spread: dict[str, Any] | None
) -> tuple[noise.Difference, noise.Spread]:
    """The difference of the model `new` of `head` from the model `old` of `base`, between which
    there is no obstacle, with the noise from `seed_spread`; and the spread of `new`."""
    sides = ((base, old), (head, new))
    predictions = [revision.read_report(model, "predictions.csv") for revision, model in sides]
    before, after = (
        noise.find_spread(model, revision.read_report(model, "training.json"), seed_spread)
        if seed_spread
        else noise.assume_spread(table)
        for (revision, model), table in zip(sides, predictions)
    )
    return noise.measure(*predictions, (before, after)), after


def judge_models(
    base: Revision, head: Revision, seed_spread: dict[str, Any] | None, rate: float
) -> dict[str, Verdict]:
    """The verdict on each model that has results in one of the revisions."""
    names = [*head.models, *(model for model in base.models if model not in head.models)]
    pairs = {name: (name, name) for name in names}
    return judge_pairs(base, head, pairs, seed_spread, rate)


def judge_against_selected(
    head: Revision, seed_spread: dict[str, Any] | None, rate: float
) -> dict[str, Verdict]:
    """The verdict on each other model of a revision, compared with the selected one."""
    pairs = {name: (head.selected, name) for name in head.models if name != head.selected}
    return judge_pairs(head, head, pairs if head.selected else {}, seed_spread, rate)


def judge_pairs(
    base: Revision,
    head: Revision,
    pairs: dict[str, tuple[str, str]],
    seed_spread: dict[str, Any] | None,
    rate: float,
) -> dict[str, Verdict]:
    """The verdicts on pairs of a model of `base` and one of `head`, corrected for their number."""
    verdicts, measured = {}, {}
    for name, pair in progress.track(pairs.items(), "comparison of models", "models"):
        if obstacle := find_obstacle(base, head, *pair):
            verdicts[name] = obstacle
        else:
            measured[name] = measure_difference(base, head, *pair, seed_spread)
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
    start = f"Another model is selected: {escape.code(new)} now, {escape.code(old)} before"
    if obstacle := find_obstacle(base, head, old, new):
        return f"{start}: {obstacle}."
    measured, _ = measure_difference(base, head, old, new, seed_spread)
    words, _ = noise.judge([measured], rate)[0]
    direction = "higher" if measured.difference > 0 else "lower"
    sizes = f"{abs(measured.difference):.4f} {direction}, the noise is {measured.noise:.4f}"
    return f"{start}. Its test accuracy is {sizes}: {words}."
