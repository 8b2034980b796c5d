"""DVC's experiments in git: find them by name, and detect what a killed ``dvc exp run`` leaves
behind.

While that runs, DVC detaches git's HEAD. A closed terminal (SIGHUP), SIGTERM or SIGKILL ends it
before it returns to the branch: whatever is committed from then on is on no branch.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import psutil

from stages.runtime import git, guard
from stages.runtime.errors import UserError

# a checkout by DVC, which names the commit in full; a person's does not
MOVE = re.compile(r"checkout: moving from (\S+) to [0-9a-f]{40}")
REFLOG_ENTRIES = "20"  # that are searched


def find_named(accepts: Callable[[str], bool]) -> dict[str, str]:
    """The commits of the experiments whose names `accepts` takes, by reference, such as
    refs/exps/12/3456/NAME; they may be based on any commit."""
    listed = git.run("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/*/*/*")
    lines = [line.partition(" ") for line in listed.split("\n") if line]
    return {ref: commit for commit, _, ref in lines if accepts(get_name(ref))}


def get_name(reference: str) -> str:
    """The name of an experiment, from its reference."""
    return reference.rpartition("/")[2]


def find_lost_branch() -> str | None:
    """The branch that a killed ``dvc exp run`` left; None if none did, or if DVC is running."""
    if "DVC_EXP_NAME" in os.environ or git.ask("symbolic-ref", "--quiet", "HEAD") is not None:
        return None
    if git.ask("rev-parse", "--verify", "--quiet", "refs/exps/exec/EXEC_HEAD") is None:
        return None
    if is_dvc_running():
        return None
    moves = git.ask("log", "--walk-reflogs", "--format=%gs", "--max-count", REFLOG_ENTRIES, "HEAD")
    for move in (moves or "").splitlines():
        if not move.startswith("checkout: moving"):
            continue
        match = MOVE.fullmatch(move)
        if match is None:  # a person's checkout
            return None
        if git.ask("rev-parse", "--verify", "--quiet", f"refs/heads/{match[1]}") is not None:
            return match[1]
    return None


def refuse_beside_dvc() -> None:
    """Raise `UserError` if DVC is running in this folder: its parameters would change under it."""
    if is_dvc_running():
        raise UserError("DVC is running in this folder: wait for it or end it, and start again")


def is_dvc_running() -> bool:
    """Whether a DVC process works in this project, or in a folder of it; one that started this
    process does not count."""
    own = psutil.Process().parents()
    for process in psutil.process_iter():
        try:
            if process not in own and guard.is_dvc(process) and works_here(Path(process.cwd())):
                return True
        except psutil.Error:
            continue
    return False


def works_here(folder: Path) -> bool:
    """Whether DVC, started in `folder`, works on the current folder's project, and not on a
    repository inside it, such as those of ``dvc exp run --temp``."""
    return find_root(folder) == find_root(Path.cwd()) is not None


def find_root(folder: Path) -> Path | None:
    """The nearest folder with a DVC repository: `folder`, or one above it."""
    roots = (parent for parent in (folder, *folder.parents) if (parent / ".dvc").is_dir())
    return next(roots, None)


def describe_lost_branch() -> str:
    """The warning about a lost branch, with what to type; empty if none was lost."""
    branch = find_lost_branch()
    if branch is None:
        return ""
    return (
        f"warning: a `dvc exp run` that was killed left git on no branch. `git switch {branch}` "
        "goes back and keeps its changes,\n         `make undo` goes back to the last commit\n"
    )
