"""The rows that are to run: which are out of date, by DVC; in which order; and what a training that
was stopped has behind it, by its checkpoints."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from commands.pipeline import graph
from stages.params.families import Architecture
from stages.params.fields import suggest
from stages.replications import options
from stages.replications.options import FOLDER
from stages.runtime.errors import UserError
from stages.training.state import read_state

PIPELINE = "replications/dvc.yaml"
DOWNLOAD = f"{PIPELINE}:download"
TABLE = f"{PIPELINE}:table"


@dataclass(frozen=True)
class Row:
    """One experiment that is to run. `steps` are its stages that are out of date, in order, as
    `dvc repro` takes them; `seeds` are all of its seeds, `epochs` the most that one trains, and
    `expected_epochs` as many as the document ran; `minutes` for all of it, as expected."""

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

    def begun(self) -> dict[int, tuple[int, bool]]:
        """What checkpoints hold: by seed the epochs done, and whether that is all of them. Whether
        a checkpoint fits, only the training tells."""
        found = {}
        for seed in self.seeds:
            file = self.checkpoints / f"seed-{seed}.npz"
            if file.exists() and (state := read_state(file)):
                epochs = len(state["history"])
                found[seed] = epochs, state["finished"] or epochs >= self.epochs
        return found

    def minutes_left(self) -> float:
        """What is expected of it, less what checkpoints hold."""
        done = sum(
            1 if finished else min(0.95, epochs / self.expected_epochs)
            for epochs, finished in self.begun().values()
        )
        return self.minutes * (1 - done / len(self.seeds))


def find_rows(names: Iterable[str], download: bool) -> list[Row]:
    """The rows of these names that are out of date (no name: all rows), those first of which the
    least is left. Without `download`, data sets in ``replications/raw`` are taken as they are.
    Raises `UserError` for a name that there is not."""
    root, replications = options.load()
    experiments = replications.experiments
    documents = options.documents(experiments)
    for name in names:
        if name not in experiments:
            raise UserError(f"{name!r} is no experiment. {suggest(name, experiments)}")
    chosen = list(dict.fromkeys(names)) or list(experiments)
    addresses = {name: f"{PIPELINE}:evaluate@{name}" for name in chosen}
    # for each target DVC reads the lock file anew: all at once
    targets = addresses.values() if len(addresses) == 1 else [f"{PIPELINE}:evaluate"]
    plan = graph.read(targets, without=() if download else (DOWNLOAD,))
    rows = []
    for name, address in addresses.items():
        if address not in plan.to_run:
            continue
        steps = [one for one in plan.list_upstream(address) if one in plan.to_run]
        entry = experiments[name]
        recipe = options.complete_train(replications.common, entry)
        start, ran = Path(entry.starts_from), documents[name].trained.epochs
        epochs = count_epochs(root.architectures[entry.architecture], recipe.epochs)
        rows.append(
            Row(
                name=name,
                steps=(*steps, address),
                starts_from=start.name if start.parent == FOLDER / "trained" else None,
                seeds=tuple(entry.seeds),
                epochs=epochs,
                expected_epochs=min(epochs, ran or epochs),
                stops_early=recipe.early_stopping.patience is not None,
                minutes=entry.minutes,
            )
        )
    return order(rows)


def count_epochs(architecture: Architecture, epochs: int) -> int:
    """The most epochs of a training whose recipe has so many `epochs`: with those of the head alone
    where its weights are pre-trained."""
    if not architecture.pretrained:
        return epochs
    tuning = architecture.fine_tuning
    return tuning.head_epochs + (0 if tuning.layers == "none" else epochs)


def order(rows: list[Row]) -> list[Row]:
    """The rows by the minutes that are left of them, each behind the one that it starts from."""
    waiting = sorted(rows, key=Row.minutes_left)
    ordered = []
    while waiting:
        names = {row.name for row in waiting}
        row = next(row for row in waiting if row.starts_from not in names)
        waiting.remove(row)
        ordered.append(row)
    return ordered
