"""Follow the progress of a row by the files that its training writes, and show it."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from rich.console import Console

from commands.replicating.rows import Row
from stages.replications.options import TRAINED
from stages.runtime.progress import format_time

PAUSE = 60  # seconds between two lines about a row if the output is not a terminal


@dataclass
class Watch:
    """Follows the trainings of a row from now on; call `describe` at any time."""

    row: Row
    started: float = field(default_factory=time.time)
    under_way: tuple[int, str | None] | None = None  # seed and phase
    first_epochs: int = 0  # when these were first seen
    first_time: float = 0.0
    seconds: float | None = None  # per epoch, after the head's epochs

    def describe(self) -> str:
        """The row's progress in words."""
        for place, seed in reversed(list(enumerate(self.row.seeds))):
            file = TRAINED / self.row.name / f"seed-{seed}" / "history.csv"
            written = self.find_time(file)
            if written and (history := read_history(file)) is not None:
                return self.describe_epoch(place, seed, history, written)
        return f"{self.row.name}: in preparation{describe_begun(self.row)}"

    def find_time(self, file: Path) -> float | None:
        """When `file` was written, as Unix time; None if that was before this watch started."""
        try:
            written = file.stat().st_mtime
        except OSError:  # DVC removes what an earlier run left
            return None
        return written if written >= self.started else None

    def describe_epoch(self, place: int, seed: int, history: pd.DataFrame, written: float) -> str:
        row, epochs = self.row, len(history)
        # the head of a pre-trained network is trained first, in a fraction of the time: meanwhile
        # no time is shown
        phases = history.get("phase", pd.Series([None] * epochs))
        phase, of_head = phases.iloc[-1], (phases == "head").sum()
        if self.under_way != (seed, phase):
            self.under_way = seed, phase
            self.first_epochs, self.first_time = epochs, written
        elif phase != "head" and epochs > self.first_epochs:
            self.seconds = (written - self.first_time) / (epochs - self.first_epochs)
        at_most = "at most " if row.stops_early else ""
        text = f"{row.name}: seed {seed} ({place + 1} of {len(row.seeds)}), epoch {epochs} of "
        text += f"{at_most}{row.epochs}"
        if "val_accuracy" in history:
            text += f", validation accuracy {history['val_accuracy'].iloc[-1]:.4f}"
        if self.seconds is not None and phase != "head":
            left = row.epochs - epochs + (row.epochs - of_head) * (len(row.seeds) - place - 1)
            remaining = format_time(left * self.seconds)
            text += f"; {self.seconds:.1f} s per epoch, {at_most}{remaining} left"
        return text


def describe_begun(row: Row) -> str:
    """What is resumed of a row, in words after a comma; empty if nothing is."""
    parts = [
        f"seed {seed} {'is trained' if finished else f'continues after epoch {epochs}'}"
        for seed, (epochs, finished) in row.read_progress().items()
    ]
    return "".join(f", {part}" for part in parts)


def read_history(file: Path) -> pd.DataFrame | None:
    """history.csv; None if it is just being replaced, or empty."""
    try:
        history = pd.read_csv(file)
    except (OSError, pd.errors.EmptyDataError):
        return None
    return history if len(history) else None


class Display:
    """Prints lines to standard output; on a terminal also a status line that is updated."""

    def __init__(self):
        self.console = Console(highlight=False, soft_wrap=True)
        self.status = self.console.status("") if self.console.is_terminal else None
        self.last, self.when = "", 0.0

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def show(self, text: str) -> None:
        """Show a row's progress; may be called often."""
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
