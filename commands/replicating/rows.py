"""Find the rows to run: those that are out of date according to DVC, in order, with the progress of
interrupted trainings according to their checkpoints."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from commands.pipeline import graph
from stages.params.families import Architecture
from stages.params.fields import suggest
from stages.replications import options, publications
from stages.replications.options import FOLDER
from stages.runtime.errors import UserError
from stages.training.state import read_state

PIPELINE = "replications/dvc.yaml"
DOWNLOAD = f"{PIPELINE}:download"
TABLE = f"{PIPELINE}:table"


@dataclass(frozen=True)
class Row:
    """An experiment to run. `steps`: its out-of-date stages, in order, as addresses for `dvc
    repro`; `seeds`: all its seeds; `epochs`: the maximum per seed; `expected_epochs`: as many as
    the document ran; `minutes`: expected for all of it."""

    name: str
    steps: tuple[str, ...]
    starts_from: str | None  # another experiment
    seeds: tuple[int, ...]
    epochs: int
    expected_epochs: int
    stops_early: bool
    minutes: float

    @property
    def address(self) -> str:
        return f"{PIPELINE}:evaluate@{self.name}"

    @property
    def checkpoints(self) -> Path:
        return FOLDER / "checkpoints" / self.name

    def read_progress(self) -> dict[int, tuple[int, bool]]:
        """The progress in the checkpoints: by seed the epochs done, and whether that is all. Only
        the training itself can tell whether a checkpoint fits."""
        progress = {}
        for seed in self.seeds:
            file = self.checkpoints / f"seed-{seed}.npz"
            if file.exists() and (state := read_state(file)):
                epochs = len(state["history"])
                progress[seed] = epochs, state["finished"] or epochs >= self.epochs
        return progress

    def estimate_minutes_left(self) -> float:
        """The expected minutes, minus those already in checkpoints."""
        done = sum(
            1 if finished else min(0.95, epochs / self.expected_epochs)
            for epochs, finished in self.read_progress().values()
        )
        return self.minutes * (1 - done / len(self.seeds))


def find_rows(names: Iterable[str], download: bool) -> list[Row]:
    """The out-of-date rows with these names (no names: all rows), the shortest remaining time
    first. Each comes after the one that it starts from, which is added if its training is out of
    date. Without `download`, data sets in ``replications/raw`` are used as they are. Raises
    `UserError` for an unknown name."""
    root, replications = options.load()
    experiments = replications.experiments
    documents = publications.read_documents(experiments)
    for name in names:
        if name not in experiments:
            raise UserError(f"{name!r} is not an experiment. {suggest(name, experiments)}")
    chosen = list(dict.fromkeys(names)) or list(experiments)
    starts = [options.find_start(experiments[name]) for name in chosen]
    before = [start for start in starts if start and start not in chosen]
    addresses = {name: f"{PIPELINE}:evaluate@{name}" for name in [*chosen, *before]}
    # one target for all: DVC reads the lock file again for each target
    targets = addresses.values() if len(addresses) == 1 else [f"{PIPELINE}:evaluate"]
    plan = graph.read_plan(targets, without=() if download else (DOWNLOAD,))
    rows = []
    for name, address in addresses.items():
        if address not in plan.to_run:
            continue
        if name in before and f"{PIPELINE}:train@{name}" not in plan.to_run:
            continue
        steps = [step for step in plan.list_upstream(address) if step in plan.to_run]
        entry = experiments[name]
        recipe = options.complete_train(replications.common, entry)
        ran = documents[name].trained.epochs
        epochs = count_epochs(root.architectures[entry.architecture], recipe.epochs)
        rows.append(
            Row(
                name=name,
                steps=(*steps, address),
                starts_from=options.find_start(entry),
                seeds=tuple(entry.seeds),
                epochs=epochs,
                expected_epochs=min(epochs, ran or epochs),
                stops_early=recipe.early_stopping.patience is not None,
                minutes=entry.minutes,
            )
        )
    return sort_by_minutes_left(rows)


def count_epochs(architecture: Architecture, epochs: int) -> int:
    """The maximum epochs of a training whose recipe has this many `epochs`, including those of the
    head alone if its weights are pre-trained."""
    if not architecture.pretrained:
        return epochs
    tuning = architecture.fine_tuning
    return tuning.head_epochs + (0 if tuning.layers == "none" else epochs)


def sort_by_minutes_left(rows: list[Row]) -> list[Row]:
    """Sort rows by the minutes left, each after the one that it starts from."""
    waiting = sorted(rows, key=Row.estimate_minutes_left)
    ordered = []
    while waiting:
        names = {row.name for row in waiting}
        row = next(row for row in waiting if row.starts_from not in names)
        waiting.remove(row)
        ordered.append(row)
    return ordered
