"""Commands of DVC's as processes that end with this one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def environment() -> dict[str, str]:
    """The environment of a stage: `python` in its command is the one that runs this, and the code
    that it imports is that of its folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    variables = os.environ | {"PATH": path}
    variables.pop("PYTHONSAFEPATH", None)  # leads past the folder, to the code that is installed
    return variables


@contextmanager
def start_dvc(
    *arguments: str,
    folder: Path | None = None,
    output: IO | None = None,
    variables: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen]:
    """Start ``dvc`` with `arguments` in `folder`, with environment `variables` beside those that
    there are; `output` takes both its streams. It is ended where the block ends by an exception,
    such as Ctrl-C, or SIGTERM after `cli.exit_on_sigterm`; a stage that it runs ends within a
    second (`stages.runtime.guard`)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        stdout=output,
        stderr=output and subprocess.STDOUT,
        env=environment() | (variables or {}),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def run_dvc(
    *arguments: str, folder: Path | None = None, variables: dict[str, str] | None = None
) -> int:
    """The exit status of ``dvc`` with `arguments`."""
    with start_dvc(*arguments, folder=folder, variables=variables) as process:
        return process.wait()
