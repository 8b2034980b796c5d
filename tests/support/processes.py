"""Watch and signal the processes that tests start."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def eventually(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def press_ctrl_c(process: subprocess.Popen) -> None:
    """Do what a terminal does at Ctrl-C: interrupt a process and all that it started."""
    first = psutil.Process(process.pid)
    for target in [first, *first.children(recursive=True)]:
        target.send_signal(signal.SIGINT)


def command_of(process: psutil.Process) -> list[str]:
    """The words of its command line, none if it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def processes_in(folder: Path, module: str | None = None) -> list[psutil.Process]:
    """The processes that work in `folder` or below, if given only those that run `module`."""
    found = []
    for process in psutil.process_iter():
        try:
            if folder in [path := Path(process.cwd()), *path.parents]:
                found += [process] if module is None or module in process.cmdline() else []
        except psutil.Error:
            continue
    return found
