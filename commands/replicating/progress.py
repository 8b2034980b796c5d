"""How far a row has come, by what its training writes; and how that is shown."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.console import Console

from commands.replicating.rows import Row
from stages.replications.options import FOLDER
from stages.runtime.progress import format_time

PAUSE = 60  # seconds between two lines about one row, where there is no terminal to write anew


@dataclass
class Watch:
    """Follows the trainings of a row from now on: `describe` at any time."""

    row: Row
    started: float = field(default_factory=time.time)
    # seed, phase, epochs and time when these were first seen
    first: tuple[int, str | None, int, float] | None = None
    seconds: float | None = None  # that an epoch takes, behind the head's

    def describe(self) -> str:
        """Where the row stands, in words."""
        for place, seed in reversed(list(enumerate(self.row.seeds))):
            file = FOLDER / "trained" / self.row.name / f"seed-{seed}" / "history.csv"
            if (written := self.written(file)) and (history := read_history(file)) is not None:
                return self.describe_epoch(place, seed, history, written)
        return f"{self.row.name}: in preparation{describe_begun(self.row)}"

    def written(self, file: Path) -> float | None:
        """When `file` was written, if that was in this sitting."""
        try:
            written = file.stat().st_mtime
        except OSError:  # DVC removes what an earlier run left
            return None
        return written if written >= self.started else None

    def describe_epoch(self, place: int, seed: int, history: pd.DataFrame, written: float) -> str:
        row, epochs = self.row, len(history)
        # a pre-trained network's head learns by itself first, in a fraction of the time: none is
        # shown meanwhile
        phases = history.get("phase", pd.Series([None] * epochs))
        phase, of_head = phases.iloc[-1], (phases == "head").sum()
        if self.first is None or self.first[:2] != (seed, phase):
            self.first = seed, phase, epochs, written
        elif phase != "head" and epochs > self.first[2]:
            self.seconds = (written - self.first[3]) / (epochs - self.first[2])
        most = "at most " if row.stops_early else ""
        text = f"{row.name}: seed {seed} ({place + 1} of {len(row.seeds)}), epoch {epochs} of "
        text += f"{most}{row.epochs}"
        if "val_accuracy" in history:
            text += f", validation accuracy {history['val_accuracy'].iloc[-1]:.4f}"
        if self.seconds is not None and phase != "head":
            left = row.epochs - epochs + (row.epochs - of_head) * (len(row.seeds) - place - 1)
            text += (
                f"; {self.seconds:.1f} s an epoch, {most}{format_time(left * self.seconds)} left"
            )
        return text


def describe_begun(row: Row) -> str:
    """What is taken up of a row, in words, behind a comma; nothing where it was not begun."""
    parts = [
        f"seed {seed} {'is trained' if finished else f'goes on behind epoch {epochs}'}"
        for seed, (epochs, finished) in row.begun().items()
    ]
    return "".join(f", {part}" for part in parts)


def read_history(file: Path) -> pd.DataFrame | None:
    """history.csv; None where it is just being replaced, or empty."""
    try:
        history = pd.read_csv(file)
    except (OSError, pd.errors.EmptyDataError):
        return None
    return history if len(history) else None


class Display:
    """Lines on standard output; on a terminal also one that is written anew as it changes."""

    def __init__(self):
        self.console = Console(highlight=False, soft_wrap=True)
        self.status = self.console.status("") if self.console.is_terminal else None
        self.last, self.when = "", 0.0

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def show(self, text: str) -> None:
        """Where a row stands; called often."""
        if self.status:
            self.status.update(text.replace("[", r"\["))
            self.status.start()
        elif text != self.last and time.monotonic() - self.when >= PAUSE:
            self.say(text)
            self.last, self.when = text, time.monotonic()

    def hide(self) -> None:
        if self.status:
            self.status.stop()
        self.when = 0.0
