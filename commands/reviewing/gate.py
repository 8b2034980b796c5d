"""What the gate checks of a change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from commands.pipeline import outdated, repository
from commands.pipeline.outdated import Outdated
from commands.reviewing import comparing, history, noise
from commands.reviewing.revisions import Revision, strip_markup
from stages.params.schema import Gate
from stages.runtime import escape
from stages.runtime.errors import UserError

# the verdicts of the replications' table that are as good as published
HOLDS = ("within noise", "above")


@dataclass(frozen=True)
class Check:
    """What was checked, and what came of it in words; `passed` is None where there was nothing to
    check."""

    name: str
    passed: bool | None
    words: str

    def __str__(self) -> str:
        state = {True: "passed", False: "FAILED", None: "not checked"}[self.passed]
        return f"{state}: {self.name}: {self.words}"


def check_lock(head: Revision, ran: Sequence[Outdated]) -> Check:
    """That ``dvc.lock`` is up to date; also before the stages that just `ran`
    because it was not."""
    found = []
    if head.outdated:
        found.append(f"`dvc repro` would run {', '.join(map(escape.code, head.outdated))}")
        found += filter(None, [outdated.give_recheck_hint(head.outdated)])
    elif ran:
        found.append(
            f"it was out of date, {', '.join(map(escape.code, ran))} had to run: the new results "
            "are to be committed"
        )
    found += [f"{path} is damaged: {what}" for path, what in head.damaged.items()]
    return Check("dvc.lock", not found, "; ".join(found) or "up to date")


def check_selected(
    base: Revision | None, head: Revision, most: float | None, content: dict[str, Any] | None
) -> Check:
    """That the test accuracy of the selected model falls by at most `most` times the noise."""
    name = "selected model"
    if most is None:
        return Check(name, None, "gate.selected_fall is empty")
    if base is None or not base.selected:
        return Check(name, None, "there is nothing to compare with")
    if not head.selected:
        return Check(name, False, "no model is selected: reports/selection.json is missing")
    files = [head.report(head.selected, file) for file in ("training.json", "predictions.csv")]
    if head.selected not in head.models or any(file is None for file in files):
        return Check(name, False, f"results of {head.selected} are missing")
    if obstacle := comparing.find_obstacle(base, head, base.selected, head.selected):
        unchanged = obstacle.words == noise.SAME
        return Check(name, True if unchanged else None, f"{head.selected}: {obstacle}")
    one, _ = comparing.measure_difference(base, head, base.selected, head.selected, content)
    times = (
        f"{abs(one.difference) / one.noise:.1f} times the noise of {one.noise:.4f}"
        if one.noise
        else "without any noise"
    )
    words = (
        f"test accuracy of {head.selected} is {abs(one.difference):.4f} "
        f"{'lower' if one.difference < 0 else 'higher'} than that of "
        f"{base.selected} before, {times}; a fall by {most:g} times is allowed"
    )
    return Check(name, one.difference >= -most * one.noise, words)


def check_calibration(head: Revision, bound: float | None) -> Check:
    name = "calibration"
    if bound is None:
        return Check(name, None, "gate.calibration_error is empty")
    metrics = head.report(head.selected, "metrics.json") if head.selected else None
    if metrics and head.stale(head.selected):
        return Check(
            name, None, f"the results of {head.selected} are of other code, data or parameters"
        )
    if not metrics:
        return Check(name, False, "there are no results of a selected model")
    error = metrics["test"]["expected_calibration_error"]
    words = f"expected calibration error of {head.selected} is {error:.4f}, {bound} is allowed"
    if error > bound and "uncalibrated" not in metrics:
        words += "; `train.calibration: temperature` may lower it"
    return Check(name, error <= bound, words)


def check_int8(head: Revision, most: float | None) -> Check:
    """That in 8-bit integers the test accuracy of the selected model is at most `most` lower."""
    name = "int8"
    if most is None:
        return Check(name, None, "gate.int8_fall is empty")
    measured = (head.json("reports/export.json") or {}).get("int8")
    if not measured:
        return Check(name, None, "no network in 8-bit integers was exported")
    if any(one.stage == "export" and one.stale for one in head.outdated):
        return Check(name, None, "what was exported is of other code, data or parameters")
    before, after = measured["test"]["float32"], measured["test"]["int8"]
    words = (
        f"test accuracy of {head.selected} is {after:.4f} in 8-bit integers and {before:.4f} in "
        f"float32; a fall by {most:g} is allowed"
    )
    return Check(name, round(before - after, 6) <= most, words)


def check_replications(base: Revision | None, head: Revision, wanted: bool) -> Check:
    """That no experiment of the documents whose published figure was obtained again is now below
    it. A table of older code shows nothing of this code: where all hold in it, that counts as not
    checked, since to run the experiments again takes hours."""
    name = "replications"
    tables = [one.table("replications/table.csv") if one else None for one in (base, head)]
    if not wanted:
        return Check(name, None, "gate.replications is false")
    if tables[0] is None:
        return Check(name, None, "there is nothing to compare with")
    held = [one for one in tables[0].to_dict("records") if one["verdict"] in HOLDS]
    now = {} if tables[1] is None else dict(zip(tables[1]["experiment"], tables[1]["verdict"]))
    lost = [
        strip_markup(f"{one['experiment']} ({now.get(one['experiment'], 'gone')})")
        for one in held
        if now.get(one["experiment"]) not in HOLDS
    ]
    if lost:
        return Check(name, False, f"no longer as published: {', '.join(lost)}")
    try:
        stages = outdated.find_outdated_replications(head.commit)
    except repository.Busy:
        raise
    except UserError as error:
        return Check(name, False, strip_markup(str(error)))
    if stages:
        return Check(
            name, None, f"the table is of older code: {len(stages)} of its stages are out of date"
        )
    return Check(name, True, f"{len(held)} hold as before")


def run_checks(
    base: history.Base,
    head: Revision,
    options: Gate,
    content: dict[str, Any] | None,
    ran: Sequence[Outdated] = (),
) -> list[Check]:
    """All checks. `content` is that of seed_spread.json, `ran` the stages that just ran because
    ``dvc.lock`` was out of date."""
    lost = [Check("base", False, base.why)] if base.lost else []
    results = [
        check_selected(base.revision, head, options.selected_fall, content),
        check_calibration(head, options.calibration_error),
        check_int8(head, options.int8_fall),
        check_replications(base.revision, head, options.replications),
    ]
    return [*lost, check_lock(head, ran), *results]  # the lock last: it says what is damaged
