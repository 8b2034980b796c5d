"""Run the documents' experiments that are out of date, one after the other, cheapest first.

Brings each row of the table up to date by ``dvc repro replications/dvc.yaml:evaluate@ROW``, then
the table. Stop it whenever you like, by Ctrl-C or otherwise: the next start says what it resumes,
and continues after the last complete epoch, with the same bits. Shows the current row, seed and
epoch, and the time left; the output of the stages goes to ``.dvc/tmp/replicate/ROW.log``. If a row
fails, the others still run, and it is named at the end.

Nothing is committed: the git commands for all rows are printed at the end, or ``--commit`` makes
one commit per row. For several machines, see ``python -m commands.parallel``.
"""

import argparse
import subprocess
import time
from pathlib import Path
from typing import IO

from commands.pipeline import digests
from commands.pipeline.process import run_dvc, start_dvc
from commands.replicating.committing import (
    find_uncommitted,
    finish_row,
    format_commands,
    list_edited,
    refuse_uncommitted,
)
from commands.replicating.progress import Display, Watch, describe_begun, format_time
from commands.replicating.rows import TABLE, Row, find_rows
from stages.replications import options
from stages.runtime import cli, guard
from stages.runtime.errors import UserError

SCRATCH = Path(".dvc/tmp/replicate")  # git ignores it
LOG_LINES = 15  # shown of the log of a row that failed


def main(names: list[str], dry: bool, commit: bool, download: bool) -> None:
    cli.exit_on_signals()
    cli.require_project()
    options.load()  # report mistakes in either file before anything is read from it
    if commit and not dry and (edited := list_edited()):
        raise UserError(
            "--commit: no commit would hold the results together with the code and the parameters "
            f"that produced them. Commit these first: {', '.join(edited)}"
        )
    with guard.hold(SCRATCH / "lock", "commands.replicate"):
        digests.refresh()  # else a comment in the code would make each row count as out of date
        rows = find_rows(names, download)
        if commit and not dry:
            refuse_uncommitted(rows)
        run_queue(rows, dry, commit, download)


def run_queue(rows: list[Row], dry: bool, commit: bool, download: bool) -> None:
    """Run the rows in this order. Raises `UserError` at the end if any failed or could not be
    committed."""
    if not rows:
        print("nothing to run: these rows are up to date")
        if not dry:
            bring_table_up_to_date()
            print_commands([])
        return
    display = Display()
    announce(rows, display)
    if dry:
        return
    for row in rows:
        check_alone(row)
    failed, skipped, uncommitted = [], [], []  # names
    try:
        for place, row in enumerate(rows, 1):
            number = f"[{place}/{len(rows)}] {row.name}"
            if row.starts_from in [*failed, *skipped]:
                display.say(f"{number}: not run, since it starts from {row.starts_from}")
                skipped.append(row.name)
                continue
            display.say(f"{number}: starting{describe_begun(row)}")
            if not run_row(row, download, display):
                failed.append(row.name)
            elif not finish_row(row, commit and not uncommitted, display):
                uncommitted.append(row.name)
    finally:  # also when it is stopped
        print_commands(uncommitted)
    problems = [f"{len(failed)} of {len(rows)} rows failed: {', '.join(failed)}"] if failed else []
    if skipped:
        problems.append(f"not run because of that: {', '.join(skipped)}")
    if commit and uncommitted:
        problems.append(f"done but not committed, see above: {', '.join(uncommitted)}")
    if problems:
        raise UserError("\n       ".join(problems))


def announce(rows: list[Row], display: Display) -> None:
    """Show which rows are to run, and how long each takes."""
    total = sum(row.estimate_minutes_left() for row in rows)
    display.say(f"{len(rows)} row{'s' * (len(rows) != 1)} to run, about {format_time(60 * total)}:")
    for row in rows:
        left = format_time(60 * row.estimate_minutes_left())
        display.say(f"  {row.name}: about {left}{describe_begun(row)}")


def bring_table_up_to_date() -> None:
    """Make the table, in case an earlier queue was stopped before it did."""
    if run_dvc("repro", "--quiet", "--single-item", TABLE):
        raise UserError("the table could not be made: see above")


def print_commands(names: list[str]) -> None:
    """Print how to commit the results of the rows `names`, and of all others that are there."""
    if names := sorted({*names, *find_uncommitted()}):
        print("\n".join(["To commit what is done:", *format_commands(names)]), flush=True)


def check_alone(row: Row) -> None:
    """Raise `UserError` if another process runs the training of a row, such as one that outlived
    its killed queue."""
    lock = row.checkpoints / "train.lock"
    if lock.exists():
        with guard.hold(lock, f"the training of {row.name}"):
            pass


def run_row(row: Row, download: bool, display: Display) -> bool:
    """Bring a row and the table up to date. Returns whether it succeeded."""
    started, log = time.monotonic(), SCRATCH / f"{row.name}.log"
    targets = [row.address] if download else ["--single-item", *row.steps]
    with open(log, "wb") as file:
        status = run_watched(["repro", *targets], file, Watch(row), display)
        status = status or run_watched(["repro", "--single-item", TABLE], file, None, display)
    duration = format_time(time.monotonic() - started)
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        display.say("\n".join([f"{row.name}: failed after {duration}, see {log}:", *lines]))
        return False
    display.say(f"{row.name}: done in {duration}, expected {format_time(60 * row.minutes)}")
    return True


def run_watched(arguments: list[str], log: IO, watch: Watch | None, display: Display) -> int:
    """Run a DVC command while `display` shows its progress. Returns its exit status. The command
    ends with this process, unless that is killed."""
    try:
        with start_dvc(*arguments, output=log) as process:
            while True:
                try:
                    return process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    if watch:
                        display.show(watch.describe())
    finally:
        display.hide()


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", help="experiments (default: all that are out of date)")
    parser.add_argument(
        "--dry",
        action="store_true",
        help="only print what would run, in which order; reports/code/ and its entry in dvc.lock "
        "are still updated",
    )
    parser.add_argument("--commit", action="store_true", help="make one commit per row")
    parser.add_argument(
        "--no-download",
        dest="download",
        action="store_false",
        help="use the data sets in replications/raw as they are, wherever they came from",
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
