"""Progress bars with the time left, by tqdm; only on a terminal, not in a log."""

import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

from stages.runtime import escape

DELAY = 2  # seconds before a bar appears: shorter work needs none


class Bar(tqdm):
    """A tqdm bar that stays hidden until its delay has passed, even when `say` writes above it."""

    def display(self, *arguments: Any, **options: Any) -> bool | None:
        if time.time() >= self.start_t + self.delay:
            return super().display(*arguments, **options)
        return None


def track(
    items: Iterable[Any] | None, text: str, unit: str, total: int | None = None, **options: Any
) -> Bar:
    """Iterate over `items`, while a bar on standard error shows how many of `total` (by default
    ``len(items)``) are done, how many of `unit` per second, and the time left.

    Without `items`, the caller reports progress by ``update``; `options` are tqdm's own.
    """
    return Bar(
        items,
        escape.terminal(text),
        total,
        unit=f" {unit}",
        delay=DELAY,
        leave=False,
        disable=None,  # hidden unless standard error is a terminal
        **options,
    )


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line on `stream` (by default standard output), above any bar."""
    stream = stream or sys.stdout
    Bar.write(text, stream)
    stream.flush()


def clear_line(stream: TextIO) -> str:
    """The characters that clear a bar from the terminal's current line; empty for a file or a
    pipe."""
    return "\r\x1b[K" if stream.isatty() else ""


def format_time(seconds: float) -> str:
    """A duration in seconds, minutes or hours, whichever suits its length."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
