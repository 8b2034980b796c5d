"""What tests ask of processes that run beside them."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil


def eventually(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def processes_in(folder: Path) -> list[psutil.Process]:
    """The processes that work in `folder` or below."""
    found = []
    for process in psutil.process_iter():
        try:
            if folder in [path := Path(process.cwd()), *path.parents]:
                found.append(process)
        except psutil.Error:
            continue
    return found
