"""What every command of the project shares: its arguments, and errors that are for people."""

import argparse
import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable

from stages.runtime import guard
from stages.runtime.errors import UserError

FULL = 1_000_000  # bytes: a disk with less room left counts as full
REMEDIES = {
    errno.ENOSPC: "free some space, for instance by `dvc gc --workspace`, and start again",
    errno.EDQUOT: "free some space, for instance by `dvc gc --workspace`, and start again",
    errno.EACCES: "give this user the right to it (chmod, chown), and start again",
    errno.EPERM: "give this user the right to it (chmod, chown), and start again",
    errno.EROFS: "mount it for writing, or work in a copy of the project elsewhere",
    errno.EIO: "the disk may be failing: copy the project to another one",
}
MADE = (
    "data",
    "models",
    "reports",
    "exports",
    "replications",
)  # folders with what the pipeline makes


def run(
    main: Callable[..., None],
    description: str,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
    **arguments: str,
) -> None:
    """Call ``main`` with the positional command-line arguments, given as ``name='help text'``, and
    those that `options` adds to the parser. The process ends when the DVC that started it does, so
    that the next ``dvc repro`` has no rival.

    The process ends with exit status 0, 1 after a `UserError` or when the machine refuses (full
    disk, no right to a folder, too little memory), both with a message on standard error, 2 after
    wrong arguments, or 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        description=(description or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, text in arguments.items():
        parser.add_argument(name, help=text)
    if options:
        options(parser)
    values = vars(parser.parse_args())
    guard.end_with_dvc()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(
            errors="backslashreplace"
        )  # where the locale's encoding lacks a character, such as × or ±
    try:
        main(**values)
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # who read the output has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if not (message := refusal(error)):
            raise
        sys.exit(f"error: {message}")
    except MemoryError as error:
        what = str(error) or "all of it is used"
        sys.exit(
            f"error: not enough memory: {what}.\n       End other programs, or make images or "
            "batches smaller"
        )
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        sys.stderr.flush()
        os._exit(
            128 + signal.SIGINT
        )  # at once: the threads of a backend may take long to end by themselves


def refusal(error: OSError) -> str | None:
    """What the machine refused, in words, with what to do; None where it is no matter of the
    machine."""
    number = error.errno
    if (
        number is None and shutil.disk_usage(".").free < FULL
    ):  # numpy says only that less was written than it asked for
        number = errno.ENOSPC
    if number == errno.ENOENT and str(error.filename).split(os.sep)[0] in MADE:
        return (
            f"{error.filename} is missing: what the pipeline makes, `dvc repro` makes again, "
            "or `dvc pull` brings from a remote"
        )
    if number not in REMEDIES:
        return None
    where = error.filename or f"writing in {os.getcwd()}"
    return (
        f"{where}: {os.strerror(number).lower()}.\n       What to do: {REMEDIES[number]}. "
        "No half-written file was left behind"
    )
