"""Run DVC commands as subprocesses that end with this process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def build_environment() -> dict[str, str]:
    """The environment variables of a stage: `python` in its command is this interpreter, and
    imports code from the stage's folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    variables = os.environ | {"PATH": path}
    variables.pop("PYTHONSAFEPATH", None)  # would import the installed code instead
    return variables


@contextmanager
def start_dvc(
    *arguments: str,
    folder: Path | None = None,
    output: IO | None = None,
    variables: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen]:
    """Start ``dvc`` with `arguments` in `folder`, with additional environment `variables`; `output`
    receives stdout and stderr. If the block raises an exception, such as by Ctrl-C, or a signal
    after `cli.exit_on_signals`, the process is terminated; a stage that it runs ends within a
    second (`stages.runtime.guard`)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        stdout=output,
        stderr=output and subprocess.STDOUT,
        env=build_environment() | (variables or {}),
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
    """Run ``dvc`` with `arguments`. Returns its exit status."""
    with start_dvc(*arguments, folder=folder, variables=variables) as process:
        return process.wait()
