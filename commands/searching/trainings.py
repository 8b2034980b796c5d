"""The trainings of a search: how each is started, and how its result is saved."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import optuna

from commands.pipeline import keys
from commands.searching import experiments
from commands.searching.experiments import Base
from commands.searching.routes import Route
from commands.searching.running import Run, Runner
from commands.searching.schema import Search
from commands.searching.studies import Settings
from stages.params.reading import look_up
from stages.runtime.errors import UserError

DIGITS = 6  # of metrics, as in reports


@dataclass
class Trainings:
    """The trainings of the study `name`, each with changes to `base`. `route`: for the seed of
    ``params.yaml``; `seeded_route`: for other seeds."""

    name: str
    search: Search
    runner: Runner
    base: Base
    route: Route
    seeded_route: Route

    @property
    def seed(self) -> int:
        return self.base.values["seed"]

    def read_present(self) -> Settings:
        """The values of the searched keys in ``params.yaml``; None for one that it lacks."""
        return {key: look_up(key, self.base.values) for key in self.search.space}

    def name_run(self, number: int | str, seed: int) -> str:
        """The name of a training, of a trial or of `base`, and of its experiment."""
        name = f"{self.name}-{number}"
        return name if seed == self.seed else f"{name}-seed-{seed}"

    def start(self, run: Run) -> None:
        route = self.route if run.seed == self.seed else self.seeded_route
        files = self.base.files | {experiments.PARAMS: self.write_parameters(run)}
        self.runner.start(run, files, route)

    def write_parameters(self, run: Run) -> str:
        """The text of ``params.yaml`` for a training."""
        settings = run.settings | ({} if run.seed == self.seed else {"seed": run.seed})
        text = self.base.files[experiments.PARAMS]
        return keys.rewrite(text, experiments.PARAMS, lambda values: keys.set_all(settings, values))

    def save_result(self, study: optuna.Study, run: Run, result: dict[str, Any]) -> float | None:
        """Save a finished training as an experiment of the study. Returns the objective; None if
        the training diverged. Raises `UserError` as `experiments.save` does."""
        measured = result["measures"]["validation"]
        if measured["accuracy"] is None:
            return None
        metrics = {"validation_accuracy": round(measured["accuracy"], DIGITS)}
        experiments.save(
            study,
            run.name,
            self.base,
            self.write_parameters(run),
            result["stages"],
            {self.search.model: metrics},
        )
        return measured["accuracy" if self.search.maximizes else "loss"]

    def run_all(self, runs: list[Run]) -> Iterator[tuple[Run, dict[str, Any]]]:
        """Run trainings that belong to no trial, and yield each result as it arrives. Raises
        `UserError` if one fails."""
        waiting = list(runs)
        while waiting or self.runner.running:
            while waiting and self.runner.has_room():
                self.start(waiting.pop(0))
            if not self.runner.running:
                self.runner.check_workers()  # they may have left
            event = self.runner.wait()
            if event and event.failed:
                log = self.runner.locate_log(event.run.name)
                raise UserError(f"{event.run.name}: {event.failed}: see {log}")
            if event and event.result:
                yield event.run, event.result
