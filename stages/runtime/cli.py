"""The command line of every program of the project: its arguments, and errors shown to users."""

import argparse
import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from stages.runtime import (
    bytecode,
    edited,
    escape,
    experiments,
    git,
    guard,
    progress,
    refusals,
)
from stages.runtime.errors import UserError


def run(
    main: Callable[..., None],
    description: str,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
    **arguments: str,
) -> None:
    """Call ``main`` with the positional command-line arguments, given as ``name='help text'``, and
    those that `options` adds to the parser. The process ends when the DVC process that started it
    does, so that the next ``dvc repro`` has no rival.

    The exit status is 0; 1 after a `UserError`, or an error of the system (full disk, no
    permission, too little memory), both with a message on standard error; 2 after wrong arguments;
    130 after Ctrl-C; or 141 if the reader of its output, such as `head`, has ended.
    """
    parser = argparse.ArgumentParser(
        prog=name_program(),
        description=(description or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, text in arguments.items():
        parser.add_argument(name, help=text)
    if options:
        options(parser)
    parser.register("type", None, parse_text)  # of arguments without a type of their own
    prepare_streams()
    values = vars(parser.parse_args())
    guard.end_with_dvc()
    git.forget_hook()
    sys.stderr.write(experiments.describe_lost_branch())
    edited.remember()
    try:
        main(**values)
        edited.refuse_edited()
        sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        if not (message := refusals.explain(error)):
            raise
        with contextlib.suppress(OSError, MemoryError):
            bytecode.remove_truncated()
        fail(message)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write("\ninterrupted\n")
            sys.stderr.flush()
        # at once: the threads of a backend may take long to end
        os._exit(128 + signal.SIGINT)


def name_program() -> str:
    """How this process was started: ``python -m commands.gate``, or a command's name alone."""
    module = sys.modules["__main__"].__spec__
    if module is None:
        return Path(sys.argv[0]).name
    return f"python -m {module.name.removesuffix('.__main__')}"


def number_between(kind: type, least: float, most: float = math.inf) -> Callable[[str], float]:
    """The argparse type of a finite number from `least` to `most`; `kind` is int or float."""
    what = "a whole number" if kind is int else "a number"
    bounds = f"from {least} to {most}" if most < math.inf else f"of at least {least}"

    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            if least <= (value := kind(text)) <= most and value < math.inf:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} {bounds}")

    return parse


def parse_text(text: str) -> str:
    """Refuse an empty argument, as from an unset shell variable: it might mean everything, such as
    all targets or all addresses. A type for argparse."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def parse_path(text: str) -> Path:
    """Parse a path from the command line; a type for argparse."""
    if "://" in parse_text(text):
        raise argparse.ArgumentTypeError(f"{text} is a URL, not a path on this machine")
    return Path(text)


def exit_on_signals() -> None:
    """Let SIGTERM, and SIGHUP from a closed terminal, end this process as an exception does, so
    that child processes end and temporary folders are removed. Under `nohup`, SIGHUP stays
    ignored."""

    def exit_once(number: int, _: object) -> NoReturn:
        # a shell and the system both send SIGHUP: the second would stop the removal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, exit_once)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, exit_once)


def require_project() -> None:
    """Raise `UserError` unless the current folder is the project's: elsewhere, a command might find
    nothing to do, or write files."""
    if not (Path("dvc.yaml").exists() and Path(".dvc").is_dir()):
        raise UserError(
            "dvc.yaml or .dvc is missing here: start the command in the folder of the project"
        )
    try:
        git.run("rev-parse", "--show-toplevel")
    except UserError as error:
        if any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
            raise
        advice = "DVC needs the folder .git, which an archive of the project lacks: `git clone` it"
        raise UserError(f"{error}\n       {advice}") from None


def prepare_streams() -> None:
    """Make sure that the standard streams are open, and that any character can be written to them.
    If the parent process closed one (``>&-``), it is redirected to the null device; else the next
    file to be opened would get its descriptor."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        # for characters that the locale's encoding lacks, such as × or ±
        stream.reconfigure(errors="backslashreplace")


def fail(message: str) -> NoReturn:
    """End the process with a message; no name from outside in it can control the terminal."""
    text = escape.terminal(message.expandtabs(2), keep="\n")
    sys.exit(f"{progress.clear_line(sys.stderr)}error: {text}")
