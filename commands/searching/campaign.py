"""The search itself: ask Optuna for trials, run them in parallel, and tell it the outcomes.

Everything that must outlive this process is in the study: what was asked, reported and told. A
trial that was running when the process ended is resumed first at the next start, from its
training's checkpoint, or from DVC's run-cache if the training was done. So is one whose training
failed, perhaps for want of memory or disk space: for Optuna it is still running.
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
FAILED = "failed"  # the one that says why it or its last training failed


@dataclass
class Campaign:
    """The trials of a study in progress."""

    study: optuna.Study
    search: Search
    trainings: Trainings
    running: dict[str, Trial] = field(default_factory=dict)  # by the name of their training
    # trials that wait for a running one with equal values, by the id of these
    twins: dict[str, list[Trial]] = field(default_factory=dict)
    reported: dict[int, int] = field(default_factory=dict)  # the last epoch, by trial number
    failures: list[str] = field(default_factory=list)  # of trainings, since this start

    def run(self) -> None:
        """Run trials until there are as many as wanted, and all are finished. Raises `UserError` if
        a worker is lost, or if `MAX_FAILURES` trainings have failed and none has succeeded."""
        deadline = time.monotonic() + 60 * (self.search.minutes or math.inf)
        runner = self.trainings.runner
        unfinished = [  # by earlier starts
            Trial(self.study, trial._trial_id) for trial in studies.list_unfinished(self.study)
        ]
        if not self.list_trials():
            self.enqueue_base()
        while True:
            while (
                runner.has_room()
                and time.monotonic() < deadline
                and (unfinished or self.wants_more())
                and not self.is_hopeless()  # though running ones may still succeed
            ):
                self.start(unfinished.pop(0) if unfinished else self.study.ask())
            if not runner.running:
                if self.is_hopeless():
                    raise UserError(
                        f"{len(self.failures)} trainings failed, and none succeeded. The last one: "
                        f"{self.failures[-1]}"
                    )
                if time.monotonic() < deadline and (unfinished or self.wants_more()):
                    runner.check_workers()  # they may have left
                    continue
                return
            if event := runner.wait():
                self.handle(event)

    def list_trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def read_trial(self, trial: Trial) -> FrozenTrial:
        """The current state of a trial in the study."""
        return self.list_trials()[trial.number]

    def identify(self, trial: FrozenTrial) -> str:
        return studies.identify_trial(trial, self.search.space)

    def wants_more(self) -> bool:
        """Whether more trials are wanted, and the space has untried values."""
        asked = [trial for trial in self.list_trials() if trial.state != TrialState.WAITING]
        tried = {self.identify(trial) for trial in asked}
        return len(asked) < self.search.trials and len(tried) < self.search.size

    def is_hopeless(self) -> bool:
        """Whether `MAX_FAILURES` trainings have failed, and no trial of the study has succeeded."""
        states = {trial.state for trial in self.list_trials()}
        successful = {TrialState.COMPLETE, TrialState.PRUNED}
        return len(self.failures) >= MAX_FAILURES and not states & successful

    def enqueue_base(self) -> None:
        """Begin with the values of ``params.yaml``, if they are in the space."""
        present = {key: keys.look_up(key, self.trainings.base.values) for key in self.search.space}
        if params := studies.encode(present, self.search.space):
            self.study.enqueue_trial(params)

    def start(self, trial: Trial) -> None:
        """Start a trial, unless its result is known: invalid by the schema of ``params.yaml``, or
        equal to another trial."""
        settings = studies.suggest(trial, self.search.space)
        if fault := keys.find_conflict(settings, self.trainings.base.values):
            self.fail(trial, fault)
        elif equal := self.find_equal(trial):
            trial.set_user_attr("equals", equal.number)
            if equal.state == TrialState.RUNNING:
                self.twins.setdefault(self.identify(equal), []).append(trial)
            else:
                self.copy_outcome(trial, equal)
        else:
            self.train(trial, settings)

    def find_equal(self, trial: Trial) -> FrozenTrial | None:
        """The first earlier trial with the same values, or None."""
        identity = self.identify(self.read_trial(trial))
        earlier = self.list_trials()[: trial.number]
        return next((other for other in earlier if self.identify(other) == identity), None)

    def copy_outcome(self, trial: Trial, equal: FrozenTrial) -> None:
        """Finish a trial with the outcome of an equal one."""
        self.finish(trial, equal.value, equal.state, f"as trial {equal.number}")

    def train(self, trial: Trial, settings: Settings) -> None:
        """Train with the first seed that the trial lacks; if it has all, finish it with the
        mean."""
        known = self.read_trial(trial)
        if known.user_attrs.get(FAILED):
            trial.set_user_attr(FAILED, None)  # in an earlier start
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
            trial.set_user_attr(FAILED, self.failures[-1])
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
        trial.set_user_attr(FAILED, why)
        self.finish(trial, None, TrialState.FAIL, why)

    def finish(self, trial: Trial, value: float | None, state: TrialState, text: str) -> None:
        """Record and print the outcome of a trial, and of the trials that wait for it."""
        value = value if state == TrialState.COMPLETE else None
        studies.tell(self.study, trial, value, state)
        trials, best = self.list_trials(), studies.find_best(self.study)
        done = sum(other.state in FINISHED for other in trials)
        outcome = state.name.lower() if value is None else f"{value:.4f}"
        mark = ", the best so far" if best and best.number == trial.number else ""
        total = max(self.search.trials, len(trials))
        print(f"[{done}/{total}] trial {trial.number}: {outcome}{mark}; {text}", flush=True)
        finished = trials[trial.number]
        for twin in self.twins.pop(self.identify(finished), []):
            self.copy_outcome(twin, finished)


def describe(settings: Settings) -> str:
    """Settings in a line: the last part of each key with its value."""
    return ", ".join(
        f"{key.split('.')[-1]} {f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in settings.items()
    )
