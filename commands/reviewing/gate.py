"""The checks of the gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from commands.pipeline import outdated, repository
from commands.pipeline.outdated import Outdated
from commands.reviewing import comparing, history, noise
from commands.reviewing.comparing import Results
from commands.reviewing.revisions import Revision, strip_markup
from stages.params.schema import Gate
from stages.runtime import escape
from stages.runtime.errors import UserError

# the verdicts in the replications' table that count as reproduced
REPRODUCED = ("within noise", "above")


@dataclass(frozen=True)
class Check:
    """The outcome of a check; `passed` is None if there was nothing to check."""

    name: str
    passed: bool | None
    words: str

    def __str__(self) -> str:
        state = {True: "passed", False: "FAILED", None: "not checked"}[self.passed]
        return f"{state}: {self.name}: {self.words}"


def check_lock(head: Revision, ran: Sequence[Outdated]) -> Check:
    """Check that ``dvc.lock`` is up to date, and was so even before the stages that just `ran`."""
    faults = []
    if head.outdated:
        faults.append(f"`dvc repro` would run {', '.join(map(escape.code, head.outdated))}")
        faults += filter(None, [outdated.give_recheck_hint(head.outdated)])
    elif ran:
        faults.append(
            f"it was out of date, {', '.join(map(escape.code, ran))} had to run: commit the new "
            "results"
        )
    faults += [f"{path} is damaged: {fault}" for path, fault in head.damaged.items()]
    return Check("dvc.lock", not faults, "; ".join(faults) or "up to date")


def check_selected(
    base: Revision | None,
    head: Revision,
    allowed_fall: float | None,
    seed_spread: dict[str, Any] | None,
) -> Check:
    """Check that the test accuracy of the selected model fell by at most `allowed_fall` times the
    noise, from `seed_spread`."""
    name = "selected model"
    if allowed_fall is None:
        return Check(name, None, "gate.selected_fall is empty")
    if base is None or not base.selected:
        return Check(name, None, "there is nothing to compare with")
    if not head.selected:
        return Check(name, False, "no model is selected: reports/selection.json is missing")
    old, new = Results(base, base.selected), Results(head, head.selected)
    if comparing.find_missing(new):
        return Check(name, False, f"results of {head.selected} are missing")
    if obstacle := comparing.find_obstacle(old, new):
        unchanged = obstacle.words == noise.SAME
        return Check(name, True if unchanged else None, f"{head.selected}: {obstacle}")
    measured, _ = comparing.measure_difference(old, new, seed_spread)
    times = (
        f"{abs(measured.difference) / measured.noise:.1f} times the noise of {measured.noise:.4f}"
        if measured.noise
        else "without any noise"
    )
    words = (
        f"compared with {base.selected} before, the test accuracy of {head.selected} is "
        f"{comparing.describe_difference(measured.difference)}, {times}; a fall of "
        f"{allowed_fall:g} times is allowed"
    )
    return Check(name, measured.difference >= -allowed_fall * measured.noise, words)


def check_calibration(head: Revision, limit: float | None) -> Check:
    """Check that the calibration error of the selected model is at most `limit`."""
    name = "calibration"
    if limit is None:
        return Check(name, None, "gate.calibration_error is empty")
    metrics = head.read_report(head.selected, "metrics.json") if head.selected else None
    if metrics and head.is_stale(head.selected):
        return Check(
            name, None, f"the results of {head.selected} are of other code, data or parameters"
        )
    if not metrics:
        return Check(name, False, "there are no results of a selected model")
    error = metrics["test"]["expected_calibration_error"]
    words = f"expected calibration error of {head.selected} is {error:.4f}; {limit} is allowed"
    if error > limit and "uncalibrated" not in metrics:
        words += "; `train.calibration: temperature` may lower it"
    return Check(name, error <= limit, words)


def check_int8(head: Revision, allowed_fall: float | None) -> Check:
    """Check that in 8-bit integers the selected model loses at most `allowed_fall` of its test
    accuracy."""
    name = "int8"
    if allowed_fall is None:
        return Check(name, None, "gate.int8_fall is empty")
    measured = (head.read_json("reports/export.json") or {}).get("int8")
    if not measured:
        return Check(name, None, "no network in 8-bit integers was exported")
    if (head.selected and head.is_stale(head.selected)) or any(
        stage.stage == "export" and stage.stale for stage in head.outdated
    ):
        return Check(name, None, "what was exported is of other code, data or parameters")
    before, after = measured["test"]["float32"], measured["test"]["int8"]
    words = (
        f"test accuracy of {head.selected} is {after:.4f} in 8-bit integers and {before:.4f} in "
        f"float32; a fall of {allowed_fall:g} is allowed"
    )
    return Check(name, round(before - after, 6) <= allowed_fall, words)


def check_replications(base: Revision | None, head: Revision, wanted: bool) -> Check:
    """Check that every published figure that was reproduced in `base` still is. A table of older
    code proves nothing about this code: if all figures hold in it, that counts as not checked,
    since running the experiments again takes hours."""
    name = "replications"
    if not wanted:
        return Check(name, None, "gate.replications is false")
    before, now = (
        revision.read_table("replications/table.csv") if revision else None
        for revision in (base, head)
    )
    if before is None:
        return Check(name, None, "there is nothing to compare with")
    reproduced = before.loc[before["verdict"].isin(REPRODUCED), "experiment"].tolist()
    verdicts = {} if now is None else dict(zip(now["experiment"], now["verdict"]))
    lost = [
        strip_markup(f"{experiment} ({verdicts.get(experiment, 'gone')})")
        for experiment in reproduced
        if verdicts.get(experiment) not in REPRODUCED
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
    return Check(name, True, f"{len(reproduced)} hold as before")


def run_checks(
    base: history.Base,
    head: Revision,
    options: Gate,
    seed_spread: dict[str, Any] | None,
    ran: Sequence[Outdated] = (),
) -> list[Check]:
    """Run all checks. `seed_spread`: from `yardstick.choose_spread`; `ran`: the stages that just
    ran because ``dvc.lock`` was out of date."""
    missing = [Check("base", False if base.lost else None, base.why)] if base.why else []
    results = [
        check_selected(base.revision, head, options.selected_fall, seed_spread),
        check_calibration(head, options.calibration_error),
        check_int8(head, options.int8_fall),
        check_replications(base.revision, head, options.replications),
    ]
    return [*missing, check_lock(head, ran), *results]  # the lock is checked last: it names damage
