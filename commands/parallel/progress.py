"""Show the progress: a line when a stage starts and ends; on a terminal also the running stages and
a progress bar. Each stage has a log file."""

import time
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


class Display:
    """Shows a run of `total` stage instances; their logs are written to the folder `logs`."""

    def __init__(self, total: int, logs: Path):
        self.console = Console(highlight=False, soft_wrap=True)
        self.total, self.logs = total, logs
        self.done = 0
        self.rows: dict[str, TaskID] = {}
        self.started: dict[str, tuple[float, str]] = {}
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.live = Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        )
        self.all = self.live.add_task("stages", total=total)

    def __enter__(self) -> "Display":
        self.logs.mkdir(parents=True, exist_ok=True)
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def locate_log(self, stage: str) -> Path:
        return self.logs / f"{stage.replace('/', '-').replace(':', '-')}.log"

    def handle_message(self, event: tuple[float, dict]) -> None:
        """Handle a worker's message: that a stage starts, with `where`, or `text` that it
        printed."""
        message = event[1]
        stage = message["stage"]
        if "where" in message:
            if stage in self.started:
                self.say(f"{stage}: again on {message['where']}, since its worker was lost")
                self.remove(stage)
            else:
                self.say(f"{stage}: on {message['where']}")
            self.locate_log(stage).write_bytes(b"")
            self.started[stage] = time.monotonic(), message["where"]
            self.rows[stage] = self.live.add_task(f"  {stage}, {message['where']}", total=1)
        else:
            with open(self.locate_log(stage), "a", encoding="utf-8") as file:
                file.write(message["text"])

    def end(self, stage: str, failure: str | None = None) -> None:
        """Report that a stage is done, or has failed."""
        self.done += 1
        self.remove(stage)
        self.live.advance(self.all)
        started, where = self.started.get(stage, (time.monotonic(), "no worker"))
        self.say(
            f"[{self.done}/{self.total}] {stage}: {failure or 'done'}, "
            f"{time.monotonic() - started:.1f} s, {where}"
        )

    def remove(self, stage: str) -> None:
        if stage in self.rows:
            self.live.remove_task(self.rows.pop(stage))

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)
