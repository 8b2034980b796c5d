"""Allow one run of a stage at a time, and end it with the DVC process that started it.

DVC's own locks end with its process: if ``dvc`` is killed, the stage that it started lives on, and
the next ``dvc repro`` would start a second one beside it.
"""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import psutil

from stages.runtime.errors import UserError

GRACE = 3  # seconds for an orphan to clean up
PATIENCE = 10  # seconds, enough for the orphan of a killed DVC to notice and end


@contextlib.contextmanager
def exclusive(lock: Path, what: str) -> Iterator[None]:
    """As `hold`, with `PATIENCE`; and Ctrl-C ends this process at once while the block runs."""
    with ending_on_interrupt(), hold(lock, what, PATIENCE):
        yield


@contextlib.contextmanager
def hold(lock: Path, what: str, patience: float = 0) -> Iterator[None]:
    """Hold the file `lock` while the block runs. Raises `UserError`, which calls the work `what`,
    if another process still holds it after `patience` seconds."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = filelock.FileLock(lock).acquire(timeout=patience)
    except filelock.Timeout:
        raise UserError(
            f"{what} is already running in another process, which holds {lock}: wait for it or end "
            "it"
        ) from None
    with held:
        yield


@contextlib.contextmanager
def ending_on_interrupt() -> Iterator[None]:
    """Let Ctrl-C end this process at once while the block runs. Python's `KeyboardInterrupt` can
    get lost in a callback of the backend, and training would go on. Ending at any moment is safe,
    since files are written atomically, and work resumes from the last checkpoint."""

    def end(*_: object) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, b"\ninterrupted: the next run resumes here\n")
        os._exit(128 + signal.SIGINT)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_dvc() -> None:
    """End this process soon after the DVC process that started it, directly or through a shell, if
    there is one: first as Ctrl-C does, so that nothing half-written stays, then by force."""
    dvc = next((process for process in psutil.Process().parents() if is_dvc(process)), None)
    if dvc is None:
        return

    def watch() -> None:
        with contextlib.suppress(psutil.Error):  # it may end between the two checks
            while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-dvc", daemon=True).start()


def is_dvc(process: psutil.Process) -> bool:
    """Whether a process was started as ``dvc …`` or ``python -m dvc …``."""
    try:
        program, *arguments = process.cmdline() or [""]
    except psutil.Error:
        return False
    if Path(program).name == "dvc":
        return True
    if not Path(program).name.lower().startswith(("python", "pypy")):  # Python on macOS
        return False
    rest = itertools.dropwhile(
        lambda argument: argument.startswith("-") and argument != "-m", arguments
    )
    match list(rest):
        case ["-m", module, *_]:
            return module == "dvc"
        case [script, *_]:
            return Path(script).name == "dvc"
    return False
