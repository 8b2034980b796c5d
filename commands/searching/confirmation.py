"""Whether the best trial is better than ``params.yaml`` as it is: judged on new seeds.

The best of many trials looks better than it is, since chance helped to choose it. So the best and
the parameters as they are train again, each with the same new seeds, which also draw other
validation images where the split is random. The difference of their means is judged by the review's
rule: its noise² is (sd_old² + sd_new²) / k over k seeds, with the degrees of freedom of Welch and
Satterthwaite (Welch's t-test); it takes the two sides for independent, which errs on the safe side
where a seed draws the same validation images for both. Where no seed draws any, the verdict is
about the images that the best was chosen on, and the false alarms are more. Only a best that is
called better is predicted on the test set, and only with the seed of ``params.yaml``.
"""

import math
from dataclasses import dataclass

import numpy as np
import optuna
from scipy import stats

from commands.pipeline import keys
from commands.reviewing.noise import BETTER, CHANCE, WORSE
from commands.searching import studies
from commands.searching.running import Run
from commands.searching.trainings import Trainings

BASE = "base"


@dataclass(frozen=True)
class Verdict:
    """The best trial, by number, against ``params.yaml`` as it is: the objective by seed."""

    trial: int
    seeds: list[int]
    old: list[float]
    new: list[float]
    word: str
    p: float


def confirm(study: optuna.Study, trainings: Trainings, rate: float) -> Verdict | None:
    """Compare the best trial with the base on new seeds; None where there is nothing to compare.
    `rate`: of false alarms. Raises `UserError` where a training fails."""
    search, best = trainings.search, studies.find_best(study)
    if best is None or not search.confirm_seeds:
        return None
    settings = studies.read_settings(best, search.space)
    present = {key: keys.look_up(key, trainings.base.values) for key in search.space}
    if settings == present:
        return None
    first = trainings.seed + search.seeds
    seeds = list(range(first, first + search.confirm_seeds))
    # the base as it is, where a key may be absent that the search sets
    runs = {
        studies.identify({**values, "seed": seed}): Run(
            trainings.name_run(side, seed), changes, seed
        )
        for seed in seeds
        for side, values, changes in ((BASE, present, {}), (best.number, settings, settings))
    }
    known = measure(study, trainings, runs)
    made = study.user_attrs.get("comparisons", [])
    if (one := [best.number, len(seeds)]) not in made:
        study.set_user_attr("comparisons", [*made, one])
    old, new = (
        [known[studies.identify({**values, "seed": seed})] for seed in seeds]
        for values in (present, settings)
    )
    return Verdict(best.number, seeds, old, new, *judge(old, new, rate, search.maximizes))


def measure(study: optuna.Study, trainings: Trainings, runs: dict[str, Run]) -> dict[str, float]:
    """The objective of trainings that belong to no trial, by what identifies them; those that the
    study knows do not run again. NaN of one that diverged."""
    known = study.user_attrs.get("confirmed", {})
    waiting = {run.name: one for one, run in runs.items() if one not in known}
    if waiting:
        print(f"the best against params.yaml, on new seeds: {len(waiting)} trainings", flush=True)
    for run, result in trainings.run_all([runs[one] for one in waiting.values()]):
        value = trainings.take(run, result)
        value = math.nan if value is None else value
        known[waiting[run.name]] = value
        study.set_user_attr("confirmed", known)
        print(f"{run.name}: {value:.4f}", flush=True)
    return known


def judge(old: list[float], new: list[float], rate: float, maximizes: bool) -> tuple[str, float]:
    """*better*, *worse* or *no difference larger than chance*, and how often chance alone would
    give a difference as large."""
    difference = np.mean(new) - np.mean(old)
    if not (np.ptp(old) or np.ptp(new)):  # equal by chance: a spread of 0 would prove anything
        return CHANCE, 1.0
    described = [(np.mean(one), np.std(one, ddof=1), len(one)) for one in (new, old)]
    p = float(stats.ttest_ind_from_stats(*described[0], *described[1], equal_var=False).pvalue)
    if not p <= rate:  # also of a training that diverged, which is NaN
        return CHANCE, p
    return (BETTER if (difference > 0) == maximizes else WORSE), p


def look_at_test(study: optuna.Study, trainings: Trainings, number: int) -> dict[str, float]:
    """accuracy, standard_error and loss of a trial on the test set, by the model that its trial
    trained. Each look is noted in the study."""
    looks = study.user_attrs.get("test", {})
    if str(number) not in looks:
        trial = study.get_trials(deepcopy=False)[number]
        settings = studies.read_settings(trial, trainings.search.space)
        name = trainings.name_run(number, trainings.seed)
        run = Run(name, settings, trainings.seed, ("validation", "test"))
        for _, result in trainings.run_all([run]):
            looks[str(number)] = result["measures"]["test"]
            study.set_user_attr("test", looks)
    return looks[str(number)]
