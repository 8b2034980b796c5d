"""Run the documents' experiments that are out of date, one after the other, cheapest first.

Each row is brought up to date by ``dvc repro replications/dvc.yaml:evaluate@ROW``, then the table.
Stop it whenever you like, by Ctrl-C or otherwise: the next start says what it takes up, and goes
on behind the last complete epoch, with the same bits. On the way it says which row runs, with
which seed, in which epoch, and how much is left; what the stages print goes to
``.dvc/tmp/replicate/ROW.log``. A row that fails is named at the end, and the others run
nevertheless.

Nothing is committed: for each row the git commands are printed, or ``--commit`` makes one commit a
row. Several machines: ``python -m commands.parallel``.
"""

import argparse
import shlex
import subprocess
import time
from pathlib import Path

import pandas as pd
from dvc.utils.serialize import loads_yaml

from commands.pipeline import digests
from commands.pipeline.process import run_dvc, start_dvc
from commands.replicating.progress import Display, Watch, describe_begun, format_time
from commands.replicating.rows import PIPELINE, TABLE, Row, find
from stages.replications import options
from stages.runtime import cli, git, guard
from stages.runtime.errors import UserError

FOLDER = options.FOLDER
SCRATCH = Path(".dvc/tmp/replicate")  # git ignores it
# what results are made by, beside the root's params.yaml
MAKING = ("stages", f"{FOLDER}/params.yaml", f"{FOLDER}/published.yaml", PIPELINE)
SHOWN = 15  # lines of the log of a row that failed
OF_TABLE = ("table.csv", "table.md", "published_and_obtained.png", "losses.png", "curves")


def main(names: list[str], dry: bool, commit: bool, download: bool) -> None:
    cli.exit_on_sigterm()
    cli.require_project()
    options.load()  # a mistake in either file is told before anything is read from it
    if commit and not dry and (edited := list_edited()):
        raise UserError(
            "--commit: no commit would hold the results together with the code and the parameters "
            f"that made them. Commit these first: {', '.join(edited)}"
        )
    with guard.hold(SCRATCH / "lock", "commands.replicate"):
        digests.refresh()  # else each row would count as out of date by a comment in the code
        run_queue(find(names, download), dry, commit, download)


def list_edited() -> list[str]:
    """What makes results and is not committed as it is. Sources of data sets in params.yaml may be
    paths of this machine, and do not count."""
    edited = git.list_changed(*MAKING)
    texts = git.ask("show", "HEAD:params.yaml"), Path("params.yaml").read_text(encoding="utf-8")
    committed, present = (loads_yaml(text) if text else {} for text in texts)
    for content in (committed, present):
        for source in content.get("datasets", {}).values():
            source.pop("source", None)
    return edited + (["params.yaml"] if committed != present else [])


def run_queue(rows: list[Row], dry: bool, commit: bool, download: bool) -> None:
    """Run the rows in this order. Raises `UserError` at the end, where some failed."""
    if not rows:
        print("nothing to run: these rows are up to date")
        if not dry:
            bring_table_up_to_date()
        return
    display, failed, uncommitted = Display(), [], []
    total = sum(row.minutes_left() for row in rows)
    display.say(f"{len(rows)} row{'s' * (len(rows) != 1)} to run, about {format_time(60 * total)}:")
    for row in rows:
        left = format_time(60 * row.minutes_left())
        display.say(f"  {row.name}: about {left}{describe_begun(row)}")
    if dry:
        return
    for row in rows:
        check_alone(row)
    for place, row in enumerate(rows, 1):
        if row.starts_from in failed:
            display.say(
                f"[{place}/{len(rows)}] {row.name}: not run, since {row.starts_from} failed"
            )
            failed.append(row.name)
            continue
        display.say(f"[{place}/{len(rows)}] {row.name}: begins{describe_begun(row)}")
        if run_row(row, download, display):
            uncommitted += [] if finish_row(row, commit, display) else [row.name]
        else:
            failed.append(row.name)
    problems = [f"{len(failed)} of {len(rows)} rows failed: {', '.join(failed)}"] if failed else []
    if uncommitted:
        problems.append(f"done, but not committed, see above: {', '.join(uncommitted)}")
    if problems:
        raise UserError("\n       ".join(problems))


def bring_table_up_to_date() -> None:
    """Make the table where a queue was stopped before it did."""
    if run_dvc("repro", "--quiet", "--single-item", TABLE):
        raise UserError("the table could not be made: see above")
    if git.list_changed(FOLDER.as_posix()):
        print(f"{FOLDER} holds what git does not have yet: see `git status {FOLDER}`")


def check_alone(row: Row) -> None:
    """Raises `UserError` where the training of a row runs in another process, such as that of a
    queue that was killed alone."""
    lock = row.checkpoints / "train.lock"
    if lock.exists():
        with guard.hold(lock, f"the training of {row.name}"):
            pass


def run_row(row: Row, download: bool, display: Display) -> bool:
    """Bring a row and the table up to date. Returns whether that succeeded."""
    started, log = time.monotonic(), SCRATCH / f"{row.name}.log"
    targets = [row.address] if download else ["--single-item", *row.steps]
    with open(log, "wb") as file:
        status = follow(["repro", *targets], file, Watch(row), display)
        status = status or follow(["repro", "--single-item", TABLE], file, None, display)
    took = format_time(time.monotonic() - started)
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
        display.say("\n".join([f"{row.name}: failed after {took}, see {log}:", *lines]))
        return False
    display.say(f"{row.name}: done in {took}, expected {format_time(60 * row.minutes)}")
    return True


def follow(arguments: list[str], log, watch: Watch | None, display: Display) -> int:
    """The exit status of a command of DVC's, while `display` shows how far it has come. It ends
    with this process, unless that is killed."""
    try:
        with start_dvc(*arguments, output=log) as process:
            while True:
                try:
                    return process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    if watch:
                        display.show(watch.look())
    finally:
        display.hide()


def finish_row(row: Row, commit: bool, display: Display) -> bool:
    """Say what came out, and commit it, or print the commands that do. Returns whether all went as
    asked: git may refuse a commit, and the next rows run nevertheless."""
    message = f"{row.name}: {describe_result(row.name)}"
    paths = changed_paths(row)
    if not paths:
        display.say(f"{message}; nothing to commit")
        return True
    refused = None
    if commit:
        try:
            if edited := list_edited():
                raise UserError(f"edited meanwhile: {', '.join(edited)}")
            git.run("add", "--", *paths)
            git.run("commit", "--quiet", "--message", message, "--", *paths)
            display.say(f"{message}; committed")
            return True
        except UserError as error:
            refused = f"not committed: {error}"
    listed = shlex.join(paths)
    display.say(f"{message}{f'; {refused}' if refused else ''}. To commit it:")
    display.say(f"  git add -- {listed}")
    display.say(f"  git commit --message {shlex.quote(message)} -- {listed}")
    return refused is None


def describe_result(name: str) -> str:
    """What the table says of a row, in short."""
    table = pd.read_csv(FOLDER / "table.csv", index_col="experiment")
    row = table.loc[name]
    seeds = "1 seed" if row["seeds"] == 1 else f"{row['seeds']:.0f} seeds"
    published = (
        "nothing published" if pd.isna(row["published"]) else f"published {row['published']}"
    )
    return f"{row['obtained']:.4f} ({seeds}), {published}: {row['verdict']}"


def changed_paths(row: Row) -> list[str]:
    """What git does not have yet of what a row made. What brings the data is left out:
    ``data/dvc.lock`` may name paths of this machine alone."""
    made = [f"{PIPELINE.removesuffix('.yaml')}.lock", *(f"{FOLDER}/{name}" for name in OF_TABLE)]
    for name in filter(None, (row.starts_from, row.name)):
        made += [f"{FOLDER}/results/{name}", f"{FOLDER}/runs/{name}.json"]
    if git.list_changed("reports/code"):  # the digests of the training's code, which rows depend on
        made += ["dvc.lock", "reports/code"]
    return [path for path in made if git.list_changed(path)]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", help="experiments (default: all that are out of date)")
    parser.add_argument(
        "--dry",
        action="store_true",
        help="say what would run, and in which order; only reports/code/ is brought up to date, "
        "with its entry in dvc.lock",
    )
    parser.add_argument("--commit", action="store_true", help="one commit for each row")
    parser.add_argument(
        "--no-download",
        dest="download",
        action="store_false",
        help="take the data sets in replications/raw as they are, wherever they came from",
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
