"""Stage check: refuse a missing data set or model with a clear message, before anything else runs.

Every stage checks all of ``params.yaml`` when it starts. But DVC reads a stage's dependencies
before it starts the stage: it reports only "no such file" if ``dataset`` or a ``source`` leads
nowhere, and hangs on a pipe. This stage runs first because it depends on none of them.
Writes ``data/checked``, which never changes.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from stages import params
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.runtime.text import printable


def refuse_unreadable(source: Path) -> None:
    """Raise `UserError` if `source` is a file that DVC could not read, or for the first such file
    in that folder: DVC hashes all files there, hidden ones too."""
    for file in list_files(source):
        try:
            mode = file.stat().st_mode
        except OSError as error:
            why = "is a link to nothing" if file.is_symlink() else printable(error)
        else:
            if stat.S_ISREG(mode) and os.access(file, os.R_OK):
                continue
            why = "is not readable" if stat.S_ISREG(mode) else "is a pipe, a socket or a device"
        raise UserError(
            f"{printable(file, 1000)} {why}: repair or remove it, since DVC has to read it"
        )


def list_files(source: Path) -> Iterator[Path]:
    """The file `source`, or all files in that folder."""
    if not source.is_dir():
        yield source
    for folder, _, names in os.walk(source):
        yield from (Path(folder, name) for name in names)


def main() -> None:
    options = params.load()
    source = options.datasets[options.dataset].source
    if not Path(source).exists():
        raise UserError(
            f"params.yaml: datasets.{options.dataset}.source: there is no file or folder at "
            f"{source!r}: correct the path.\n"
            "       A failed `dvc exp run -S` leaves its value in params.yaml: correct it there, "
            "or pass another one with -S"
        )
    refuse_unreadable(Path(source))
    Path("data/checked").write_text(
        "params.yaml names a data set that is there\n", encoding="utf-8"
    )


if __name__ == "__main__":
    cli.run(main, __doc__)
