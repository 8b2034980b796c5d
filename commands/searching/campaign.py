"""The search itself: ask Optuna for trials, run them side by side, and tell it what came of them.

All that must outlive this process lies in the study: what was asked, reported and told. A trial
that was running when the process ended is taken up first at the next start, from the checkpoint
that its training kept; one whose training was done comes from DVC's run-cache.
"""

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from commands.pipeline import keys
from commands.searching import studies
from commands.searching.running import Event, Run
from commands.searching.schema import Search
from commands.searching.studies import Settings
from commands.searching.trainings import Trainings
from stages.runtime.errors import UserError

HOPELESS = 3  # trainings that fail before one does well: then something else may be wrong
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
SEED = "seed {}"  # the attribute of a trial that holds the objective with one seed


@dataclass
class Campaign:
    """The trials of a study under way."""

    study: optuna.Study
    search: Search
    trainings: Trainings
    running: dict[str, Trial] = field(default_factory=dict)  # by the name of their training
    twins: dict[str, list[Trial]] = field(default_factory=dict)  # that wait for an equal one
    reported: dict[int, int] = field(default_factory=dict)  # the last epoch, by number of trial
    failures: list[str] = field(default_factory=list)  # of trainings, since this start

    def run(self) -> None:
        """Run trials until there are as many as wanted, and each is finished. Raises `UserError`
        where a worker is lost, or where `HOPELESS` trainings have failed and none does well."""
        deadline = time.monotonic() + 60 * (self.search.minutes or math.inf)
        runner = self.trainings.runner
        left = [
            Trial(self.study, one._trial_id)
            for one in self.trials()
            if one.state == TrialState.RUNNING  # when an earlier start ended
        ]
        if not self.trials():
            self.enqueue_base()
        while True:
            while left:
                self.admit(left.pop(0))
            while (
                runner.has_room()
                and time.monotonic() < deadline
                and self.wants_more()
                and not self.is_hopeless()  # else those that run may yet do well
            ):
                self.admit(self.study.ask())
            if not runner.running:
                if self.is_hopeless():
                    raise UserError(
                        f"{len(self.failures)} trainings failed, and none succeeded. The last one: "
                        f"{self.failures[-1]}"
                    )
                if time.monotonic() < deadline and self.wants_more():
                    runner.check()  # the workers may have left
                    continue
                return
            if event := runner.wait():
                self.handle(event)

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def look(self, trial: Trial) -> FrozenTrial:
        """What the study says of a trial now."""
        return self.trials()[trial.number]

    def identify(self, trial: FrozenTrial) -> str:
        return studies.identify_trial(trial, self.search.space)

    def wants_more(self) -> bool:
        """Whether fewer trials were asked for than wanted, and the space has more."""
        asked = [one for one in self.trials() if one.state != TrialState.WAITING]
        tried = {self.identify(one) for one in asked}
        return len(asked) < self.search.trials and len(tried) < self.search.size

    def is_hopeless(self) -> bool:
        """Whether `HOPELESS` trainings have failed, and no trial of the study did well."""
        states = {one.state for one in self.trials()}
        well = {TrialState.COMPLETE, TrialState.PRUNED}
        return len(self.failures) >= HOPELESS and not states & well

    def enqueue_base(self) -> None:
        """Begin with the values of ``params.yaml``, where they lie in the space."""
        present = {key: keys.look_up(key, self.trainings.base.values) for key in self.search.space}
        if params := studies.express(present, self.search.space):
            self.study.enqueue_trial(params)

    def admit(self, trial: Trial) -> None:
        """Start a trial, unless its result is known: from the schema of ``params.yaml``, or from an
        equal trial."""
        settings = studies.suggest(trial, self.search.space)
        if fault := keys.find_conflict(settings, self.trainings.base.values):
            self.fail(trial, fault)
        elif equal := self.find_equal(trial):
            trial.set_user_attr("equals", equal.number)
            if equal.state == TrialState.RUNNING:
                self.twins.setdefault(self.identify(equal), []).append(trial)
            else:
                self.repeat(trial, equal)
        else:
            self.train(trial, settings)

    def find_equal(self, trial: Trial) -> FrozenTrial | None:
        """The first trial with the same values, where that is an earlier one."""
        same = self.identify(self.look(trial))
        earlier = self.trials()[: trial.number]
        return next((one for one in earlier if self.identify(one) == same), None)

    def repeat(self, trial: Trial, equal: FrozenTrial) -> None:
        """Tell of a trial what was told of an equal one."""
        self.finish(trial, equal.value, equal.state, f"as trial {equal.number}")

    def train(self, trial: Trial, settings: Settings) -> None:
        """Train with the first seed that the trial has not trained with, or tell the mean."""
        known = self.look(trial)
        first = self.trainings.seed
        seeds = range(first, first + self.search.seeds)
        left = [seed for seed in seeds if SEED.format(seed) not in known.user_attrs]
        if not left:
            mean = statistics.fmean(known.user_attrs[SEED.format(seed)] for seed in seeds)
            self.finish(trial, mean, TrialState.COMPLETE, describe(settings))
            return
        run = Run(self.trainings.name_run(trial.number, left[0]), settings, left[0])
        self.running[run.name] = trial
        self.reported[trial.number] = max(known.intermediate_values, default=0)
        self.trainings.start(run)

    def handle(self, event: Event) -> None:
        """Take up what happened to the training of a trial."""
        run, runner = event.run, self.trainings.runner
        trial = self.running[run.name]
        if event.rows:
            if run.seed == self.trainings.seed and self.report(trial, event.rows):
                runner.stop(run)
                epoch = self.reported[trial.number]
                told = f"after epoch {epoch}; {describe(run.settings)}"
                self.finish(trial, None, TrialState.PRUNED, told)
        elif event.lost:
            raise UserError(f"{run.name} could not be run: {event.failed}. Start again to go on")
        elif event.failed:
            self.failures.append(f"{event.failed}, see {runner.log(run.name)}")
            self.fail(trial, self.failures[-1])
        elif (value := self.trainings.take(run, event.result)) is None:
            self.fail(trial, "the training diverged: the network predicts NaN")
        else:
            trial.set_user_attr(SEED.format(run.seed), value)
            self.train(trial, run.settings)

    def report(self, trial: Trial, rows: list[dict[str, Any]]) -> bool:
        """Report the epochs that are new. Returns whether the pruner gives the trial up."""
        column = "val_accuracy" if self.search.maximizes else "val_loss"
        for epoch, row in enumerate(rows, 1):
            if epoch > self.reported[trial.number]:
                value = row[column]
                trial.report(math.nan if value is None else value, epoch)
                self.reported[trial.number] = epoch
                if trial.should_prune():
                    return True
        return False

    def fail(self, trial: Trial, why: str) -> None:
        trial.set_user_attr("failed", why)
        self.finish(trial, None, TrialState.FAIL, why)

    def finish(self, trial: Trial, value: float | None, state: TrialState, text: str) -> None:
        """Tell the outcome of a trial, and of those that wait for it."""
        value = value if state == TrialState.COMPLETE else None
        studies.tell(self.study, trial, value, state)
        told, best = self.trials(), studies.find_best(self.study)
        done = sum(one.state in FINISHED for one in told)
        word = state.name.lower() if value is None else f"{value:.4f}"
        mark = ", the best so far" if best and best.number == trial.number else ""
        total = max(self.search.trials, len(told))
        print(f"[{done}/{total}] trial {trial.number}: {word}{mark}; {text}", flush=True)
        equal = told[trial.number]
        for twin in self.twins.pop(self.identify(equal), []):
            self.repeat(twin, equal)


def describe(settings: Settings) -> str:
    """Settings in a line: the last part of each key, and its value."""
    return ", ".join(
        f"{key.split('.')[-1]} {f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in settings.items()
    )
