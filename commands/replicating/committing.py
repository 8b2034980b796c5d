"""Commit the results of rows, each with the lock file and the table, and nothing else."""

import shlex
from pathlib import Path

import pandas as pd
from dvc.utils.serialize import loads_yaml

from commands.pipeline import lockfile
from commands.replicating.progress import Display
from commands.replicating.rows import PIPELINE, Row
from stages.replications.options import FOLDER
from stages.runtime import git
from stages.runtime.errors import UserError

# what the results depend on, besides the root's params.yaml
INPUTS = (
    "stages",
    "data/official",
    f"{FOLDER}/params.yaml",
    f"{FOLDER}/published.yaml",
    f"{FOLDER}/published_curves.csv",
    PIPELINE,
)
LOCK = f"{PIPELINE.removesuffix('.yaml')}.lock"
TABLE_OUTPUTS = ("table.csv", "table.md", "published_and_obtained.png", "losses.png", "curves")


def list_edited() -> list[str]:
    """The inputs of the results that have uncommitted changes. Sources of data sets in params.yaml
    may be paths on this machine, and do not count."""
    edited = git.list_changed(*INPUTS)
    texts = git.ask("show", "HEAD:params.yaml"), Path("params.yaml").read_text(encoding="utf-8")
    committed, present = (loads_yaml(text) if text else {} for text in texts)
    for content in (committed, present):
        for source in content.get("datasets", {}).values():
            source.pop("source", None)
    return edited + (["params.yaml"] if committed != present else [])


def find_uncommitted() -> list[str]:
    """The rows whose results, according to the lock file, are not committed. Raises `UserError` if
    a lock file is damaged."""
    committed = git.ask("show", f"HEAD:./{LOCK}")
    before = lockfile.parse(committed, f"{LOCK} of the last commit") if committed else {}
    changed = {
        stage for stage, entry in lockfile.read(Path(LOCK)).items() if before.get(stage) != entry
    }
    return sorted(stage.partition("@")[2] for stage in changed if stage.startswith("evaluate@"))


def refuse_uncommitted(rows: list[Row]) -> None:
    """Raise `UserError` if others than `rows`, which will run, have results that are not committed:
    the lock file and the table are theirs too, and the next commit would hold a part of each."""
    running = {row.name for row in rows}
    if left := [name for name in find_uncommitted() if name not in running]:
        raise UserError(
            "--commit: the next commit would hold parts of results that are there and not "
            f"committed: {', '.join(left)}. Commit them first:\n" + "\n".join(format_commands(left))
        )


def finish_row(row: Row, commit: bool, display: Display) -> bool:
    """Print the result, and with `commit`, commit it. Returns whether nothing is left to commit; if
    git refuses, the next rows still run."""
    message, paths = format_message([row.name]), list_changed_paths([row.name])
    if not paths:
        display.say(f"{message}; nothing to commit")
        return True
    if not commit:
        display.say(message)
        return False
    try:
        if edited := list_edited():
            raise UserError(f"edited meanwhile: {', '.join(edited)}")
        git.run("add", "--", *paths)
        git.run("commit", "--quiet", "--message", message, "--", *paths)
    except UserError as error:
        display.say(f"{message}; not committed: {error}")
        return False
    display.say(f"{message}; committed")
    return True


def format_message(names: list[str]) -> str:
    """The commit message for the rows with these names: a line for each."""
    lines = [f"{name}: {describe_result(name)}" for name in names]
    return "\n".join(lines if len(lines) == 1 else [f"{len(names)} replications", "", *lines])


def format_commands(names: list[str]) -> list[str]:
    """The git commands that commit the rows with these names."""
    listed = shlex.join(list_changed_paths(names))
    message = shlex.quote(format_message(names))
    return [f"  git add -- {listed}", f"  git commit --message {message} -- {listed}"]


def describe_result(name: str) -> str:
    """A row of the table in short: obtained and published figure, and the verdict."""
    path = FOLDER / "table.csv"
    if not path.exists():  # DVC removes it before the stage that makes it anew
        return "not in the table yet"
    table = pd.read_csv(path, index_col="experiment")
    if name not in table.index or pd.isna(table.loc[name, "obtained"]):
        return "not in the table yet"
    row = table.loc[name]
    seeds = "1 seed" if row["seeds"] == 1 else f"{row['seeds']:.0f} seeds"
    published = (
        "nothing published" if pd.isna(row["published"]) else f"published {row['published']}"
    )
    return f"{row['obtained']:.4f} ({seeds}), {published}: {row['verdict']}"


def list_changed_paths(names: list[str]) -> list[str]:
    """The uncommitted files that the rows with these names wrote. ``data/dvc.lock`` is left out: it
    may name paths that exist only on this machine."""
    written = [LOCK, *(f"{FOLDER}/{name}" for name in TABLE_OUTPUTS)]
    for name in names:
        written += [f"{FOLDER}/results/{name}", f"{FOLDER}/runs/{name}.json"]
    if git.list_changed("reports/code"):  # the digests of the training's code, which rows depend on
        written += ["dvc.lock", "reports/code"]
    # one that is missing is about to be made anew
    return [path for path in written if Path(path).exists() and git.list_changed(path)]
