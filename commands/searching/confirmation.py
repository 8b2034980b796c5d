"""Confirm on new seeds that the best trial is better than ``params.yaml`` as it is.

The best of many trials looks better than it is, since chance helped to select it. So both the best
trial and the unchanged parameters are trained again with the same new seeds, which also draw
different validation images if the split is random. The difference of their means is judged as in
the review: its noise² is (sd_old² + sd_new²) / k over k seeds, with the degrees of freedom of Welch
and Satterthwaite (Welch's t-test). This treats the two sides as independent, which is conservative
if a seed draws the same validation images for both. If the split does not depend on the seed, the
verdict is about the images on which the best trial was selected, and false alarms are more
frequent. Only a best trial that is called better is evaluated on the test set, and only with the
seed of ``params.yaml``.
"""

import math
from dataclasses import dataclass

import numpy as np
import optuna
from scipy import stats

from commands.reviewing.noise import BETTER, CHANCE, NOT_JUDGED, WORSE
from commands.searching import studies
from commands.searching.running import Run
from commands.searching.trainings import Trainings

BASE = "base"


@dataclass(frozen=True)
class Confirmation:
    """The number of the best trial, and the objective by seed with ``params.yaml`` as it is (`old`)
    and with the best trial's values (`new`). `p` is None if the difference is not judged."""

    trial: int
    seeds: list[int]
    old: list[float]
    new: list[float]
    word: str
    p: float | None

    @property
    def basis(self) -> str:
        """The p-value in words, or why there is none."""
        if self.p is not None:
            return f"p {self.p:.3f}"
        finite = np.isfinite([*self.old, *self.new]).all()
        return "all seeds gave the same value" if finite else "a training diverged"


def confirm(study: optuna.Study, trainings: Trainings, rate: float) -> Confirmation | None:
    """Compare the best trial with the base on new seeds; None if there is nothing to compare.
    `rate`: of false alarms. Raises `UserError` if a training fails."""
    measure(study, trainings, list_runs(study, trainings))
    confirmed = read_confirmation(study, trainings, rate)
    comparisons = study.user_attrs.get(studies.COMPARED, [])
    if confirmed and (comparison := [confirmed.trial, len(confirmed.seeds)]) not in comparisons:
        study.set_user_attr(studies.COMPARED, [*comparisons, comparison])
    return confirmed


def list_runs(study: optuna.Study, trainings: Trainings) -> dict[str, Run]:
    """The trainings to compare, by their ids: for each new seed that of the base, and that of the
    best trial. None at all if there is nothing to compare."""
    search, best = trainings.search, studies.find_best(study)
    if best is None:
        return {}
    settings = studies.read_settings(best, search.space)
    present = trainings.read_present()
    if settings == present:
        return {}
    first = trainings.seed + search.seeds
    # the base itself runs without changes: it may lack a key that the search sets
    return {
        studies.identify({**values, "seed": seed}): Run(
            trainings.name_run(side, seed), changes, seed
        )
        for seed in range(first, first + search.confirm_seeds)
        for side, values, changes in ((BASE, present, {}), (best.number, settings, settings))
    }


def read_confirmation(
    study: optuna.Study, trainings: Trainings, rate: float
) -> Confirmation | None:
    """The comparison, from the trainings that the study has recorded; None if one is missing, or
    there is nothing to compare."""
    runs, known = list_runs(study, trainings), study.user_attrs.get(studies.CONFIRMED, {})
    if not runs or not known.keys() >= runs.keys():
        return None
    values = [known[run_id] for run_id in runs]
    old, new = values[::2], values[1::2]
    seeds = [run.seed for run in runs.values()][::2]
    number = studies.find_best(study).number
    return Confirmation(number, seeds, old, new, *judge(old, new, rate, trainings.search.maximizes))


def measure(study: optuna.Study, trainings: Trainings, runs: dict[str, Run]) -> None:
    """Record the objective of `runs`, which belong to no trial, in the study by their ids; NaN if
    one diverged. Those recorded before do not run again."""
    known = study.user_attrs.get(studies.CONFIRMED, {})
    waiting = {run.name: run_id for run_id, run in runs.items() if run_id not in known}
    if waiting:
        print(f"best trial against params.yaml, on new seeds: {len(waiting)} trainings", flush=True)
    for run, result in trainings.run_all([runs[run_id] for run_id in waiting.values()]):
        value = trainings.save_result(study, run, result)
        value = math.nan if value is None else value
        known[waiting[run.name]] = value
        study.set_user_attr(studies.CONFIRMED, known)
        print(f"{run.name}: {value:.4f}", flush=True)


def judge(
    old: list[float], new: list[float], rate: float, maximizes: bool
) -> tuple[str, float | None]:
    """*better*, *worse* or *no difference larger than chance*, and the p-value; *not judged* and
    None if a training diverged, or if neither side has a spread over its seeds: equal by chance,
    that would prove any difference."""
    if not np.isfinite([*old, *new]).all() or not (np.ptp(old) or np.ptp(new)):
        return NOT_JUDGED, None
    difference = np.mean(new) - np.mean(old)
    new_stats, old_stats = (
        (np.mean(values), np.std(values, ddof=1), len(values)) for values in (new, old)
    )
    p = float(stats.ttest_ind_from_stats(*new_stats, *old_stats, equal_var=False).pvalue)
    if p > rate:
        return CHANCE, p
    return (BETTER if (difference > 0) == maximizes else WORSE), p


def look_at_test(study: optuna.Study, trainings: Trainings, number: int) -> None:
    """Record accuracy, standard_error and loss on the test set, of the model that a trial trained,
    in the study, unless they are there."""
    looks = study.user_attrs.get(studies.TESTED, {})
    if str(number) not in looks:
        trial = study.get_trials(deepcopy=False)[number]
        settings = studies.read_settings(trial, trainings.search.space)
        name = trainings.name_run(number, trainings.seed)
        run = Run(name, settings, trainings.seed, ("validation", "test"))
        for _, result in trainings.run_all([run]):
            looks[str(number)] = result["measures"]["test"]
            study.set_user_attr(studies.TESTED, looks)


def read_test(study: optuna.Study, number: int) -> dict[str, float] | None:
    """What `look_at_test` has recorded of a trial; None if it has not looked."""
    return study.user_attrs.get(studies.TESTED, {}).get(str(number))
