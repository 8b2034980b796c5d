"""Progress bars with the time left, by tqdm, on a terminal alone: a log gets nothing of them."""

import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

from stages.runtime import escape

DELAY = 2  # seconds without a bar: what is done by then needs none


class Bar(tqdm):
    """A tqdm bar that stays hidden until its delay has passed, even when `say` writes above it."""

    def display(self, *arguments: Any, **options: Any) -> bool | None:
        if time.time() >= self.start_t + self.delay:
            return super().display(*arguments, **options)
        return None


def track(
    items: Iterable[Any] | None, text: str, unit: str, total: int | None = None, **options: Any
) -> Bar:
    """`items` one by one, while a bar on standard error shows how many of `total` are done (without
    it, of ``len(items)``), how many `unit` are done a second, and the time left.

    Without `items`, the caller says by ``update`` what is done; `options` are tqdm's own.
    """
    return Bar(
        items,
        escape.terminal(text),
        total,
        unit=f" {unit}",
        delay=DELAY,
        leave=False,
        disable=None,  # where standard error is no terminal
        **options,
    )


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line on `stream` (without it, on standard output), above any bar."""
    stream = stream or sys.stdout
    Bar.write(text, stream)
    stream.flush()


def clear_line(stream: TextIO) -> str:
    """What removes a bar from the line where the cursor of a terminal stands; nothing for a file or
    a pipe."""
    return "\r\x1b[K" if stream.isatty() else ""


def format_time(seconds: float) -> str:
    """In hours, minutes or seconds, as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
