"""Run the commands of a comparison, until they end, have done enough, or all is stopped."""

import contextlib
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from commands.pipeline.process import build_environment
from stages.runtime.errors import UserError


def start(command: str, folder: Path, output: int) -> subprocess.Popen:
    """Start a stage's command in `folder`, with this Python interpreter."""
    variables = build_environment()
    variables.pop("PYTHONPATH", None)  # it may point to the code of the working tree
    return subprocess.Popen(
        shlex.split(command), cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT
    )


def run(command: str, folder: Path, code: str, stop: threading.Event) -> None:
    """Run a command of the *old* or *present* `code` to its end. Raises `UserError` with its last
    lines if it fails."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        status = wait(start(command, folder, output.fileno()), stop)
        if status:
            output.seek(0)
            last = "\n         ".join(output.read().splitlines()[-8:])
            raise UserError(
                f"the {code} code's `{command}` ended with exit status {status}:\n         {last}"
            )


def interrupt(command: str, folder: Path, checkpoint: str, stop: threading.Event) -> bool:
    """Start a training and kill it as soon as it has written its first checkpoint. Returns whether
    there is a checkpoint to resume from."""

    def has_checkpoint() -> bool:
        return any(folder.glob(checkpoint))

    # a short experiment soon writes the next one, or ends
    wait(start(command, folder, subprocess.DEVNULL), stop, has_checkpoint, interval=0.002)
    return has_checkpoint()


def wait(
    process: subprocess.Popen,
    stop: threading.Event,
    is_enough: Callable[[], bool] = lambda: False,
    interval: float = 0.1,
) -> int:
    """Wait for a process, and kill it early if `is_enough`, which is called every `interval`
    seconds. Returns its exit status. Raises `UserError` once `stop` is set."""
    while not is_enough() and not stop.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(interval)
            break
    process.kill()
    status = process.wait()
    if stop.is_set():
        raise UserError("stopped")
    return status
