"""The search itself: ask Optuna for trials, run them in parallel, and tell it the outcomes.

Everything that must outlive this process is in the study: what was asked, reported and told. A
trial that was running when the process ended is resumed first at the next start, from its
training's checkpoint, or from DVC's run-cache if the training was done. So is one whose training
failed, perhaps for want of memory or disk space: for Optuna it is still running. A trial with the
values of an earlier one is not trained, but gets its outcome.
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

MAX_FAILURES = 3  # trainings that may fail before any succeeds; more suggest a common cause
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
SEED = "seed {}"  # the attribute of a trial that holds the objective with one seed


@dataclass
class Campaign:
    """The trials of a study in progress."""

    study: optuna.Study
    trainings: Trainings
    running: dict[str, Trial] = field(default_factory=dict)  # by the name of their training
    # the last epoch of each trial that this start has begun to train, by number
    reported: dict[int, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)  # of trainings, since this start

    @property
    def search(self) -> Search:
        return self.trainings.search

    def run(self) -> None:
        """Run trials until there are as many as wanted, and all are finished. Raises `UserError` if
        a worker is lost, or if `MAX_FAILURES` trainings have failed and none has succeeded."""
        deadline = time.monotonic() + 60 * (self.search.minutes or math.inf)
        runner = self.trainings.runner
        if not self.list_trials():
            self.enqueue_base()
        while True:
            self.copy_outcomes()
            more = self.has_more(deadline)
            if more and runner.has_room():
                self.start(self.next_trial())
            elif runner.running:
                if event := runner.wait():
                    self.handle(event)
            elif more:
                runner.check_workers()  # they may have left
            else:
                break
        if self.is_hopeless():
            raise UserError(
                f"{len(self.failures)} trainings failed, and none succeeded. The last one: "
                f"{self.failures[-1]}"
            )

    def list_trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def read_trial(self, trial: Trial) -> FrozenTrial:
        """The current state of a trial in the study."""
        return self.list_trials()[trial.number]

    def identify(self, trial: FrozenTrial) -> str:
        return studies.identify_trial(trial, self.search.space)

    def has_more(self, deadline: float) -> bool:
        """Whether another trial should start, once a worker is free: one is left, or wanted and the
        space has untried values."""
        if time.monotonic() >= deadline or self.is_hopeless():  # though running ones may succeed
            return False
        asked = [trial for trial in self.list_trials() if trial.state != TrialState.WAITING]
        tried = {self.identify(trial) for trial in asked}
        wanted = len(asked) < self.search.trials and len(tried) < self.search.size
        return wanted or bool(self.list_left())

    def next_trial(self) -> Trial:
        """The trial to start: one that an earlier start left unfinished, else a new one."""
        left = self.list_left()
        return Trial(self.study, left[0]._trial_id) if left else self.study.ask()

    def list_left(self) -> list[FrozenTrial]:
        """The unfinished trials of earlier starts that this one should train, and has not begun
        to."""
        return [
            trial
            for trial in studies.list_unfinished(self.study)
            if trial.number not in self.reported and studies.EQUALS not in trial.user_attrs
        ]

    def is_hopeless(self) -> bool:
        """Whether `MAX_FAILURES` trainings have failed, and no trial of the study has succeeded."""
        states = {trial.state for trial in self.list_trials()}
        successful = {TrialState.COMPLETE, TrialState.PRUNED}
        return len(self.failures) >= MAX_FAILURES and not states & successful

    def enqueue_base(self) -> None:
        """Begin with the values of ``params.yaml``, if they are in the space."""
        if params := studies.encode(self.trainings.read_present(), self.search.space):
            self.study.enqueue_trial(params)

    def start(self, trial: Trial) -> None:
        """Start a trial: train it, unless its values are invalid by the schema of ``params.yaml``,
        or those of another trial."""
        settings = studies.suggest(trial, self.search.space)
        if fault := keys.find_conflict(settings, self.trainings.base.values):
            self.fail(trial, fault)
        elif equal := self.find_equal(trial):
            trial.set_user_attr(studies.EQUALS, equal.number)
        else:
            self.train(trial, settings)

    def find_equal(self, trial: Trial) -> FrozenTrial | None:
        """The first earlier trial with the same values, or None."""
        identity = self.identify(self.read_trial(trial))
        earlier = self.list_trials()[: trial.number]
        return next((other for other in earlier if self.identify(other) == identity), None)

    def copy_outcomes(self) -> None:
        """Finish the trials that equal a finished one, with its outcome."""
        trials = self.list_trials()
        for trial in studies.list_unfinished(self.study):
            number = trial.user_attrs.get(studies.EQUALS)
            if number is not None and (equal := trials[number]).state in FINISHED:
                self.finish(trial, equal.value, equal.state, f"as trial {number}")

    def train(self, trial: Trial, settings: Settings) -> None:
        """Train with the first seed that the trial lacks; if it has all, finish it with the
        mean."""
        known = self.read_trial(trial)
        if known.user_attrs.get(studies.FAILED):
            trial.set_user_attr(studies.FAILED, None)  # in an earlier start
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
        """Process an event of a trial's training. Raises `UserError` if a worker was lost."""
        run, runner = event.run, self.trainings.runner
        trial = self.running[run.name]
        if event.rows:
            if run.seed == self.trainings.seed and self.report(trial, event.rows):
                runner.stop(run)
                epoch = self.reported[trial.number]
                text = f"after epoch {epoch}; {describe(run.settings)}"
                self.finish(trial, None, TrialState.PRUNED, text)
        elif event.lost:
            raise UserError(f"{run.name} could not be run: {event.failed}. Start again to continue")
        elif event.failed:
            self.failures.append(f"{event.failed}, see {runner.locate_log(run.name)}")
            trial.set_user_attr(studies.FAILED, self.failures[-1])
            print(
                f"trial {trial.number}: {self.failures[-1]}; the next start repeats it", flush=True
            )
        elif (value := self.trainings.save_result(self.study, run, event.result)) is None:
            self.fail(trial, "the training diverged: the network predicts NaN")
        else:
            trial.set_user_attr(SEED.format(run.seed), value)
            self.train(trial, run.settings)

    def report(self, trial: Trial, rows: list[dict[str, Any]]) -> bool:
        """Report new epochs to Optuna. Returns whether the trial should be pruned."""
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
        trial.set_user_attr(studies.FAILED, why)
        self.finish(trial, None, TrialState.FAIL, why)

    def finish(
        self, trial: Trial | FrozenTrial, value: float | None, state: TrialState, text: str
    ) -> None:
        """Record and print the outcome of a trial."""
        value = value if state == TrialState.COMPLETE else None
        studies.tell(self.study, trial, value, state)
        trials, best = self.list_trials(), studies.find_best(self.study)
        done = sum(other.state in FINISHED for other in trials)
        outcome = state.name.lower() if value is None else f"{value:.4f}"
        mark = ", the best so far" if best and best.number == trial.number else ""
        total = max(self.search.trials, len(trials))
        print(f"[{done}/{total}] trial {trial.number}: {outcome}{mark}; {text}", flush=True)


def describe(settings: Settings) -> str:
    """Settings in a line: the last part of each key with its value."""
    return ", ".join(
        f"{key.split('.')[-1]} {f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in settings.items()
    )
