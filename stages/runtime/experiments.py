"""What a killed ``dvc exp run`` leaves behind.

While it runs, DVC detaches git's HEAD. A closed terminal (SIGHUP), SIGTERM or SIGKILL ends it
before it goes back to the branch: whatever is committed from then on is on no branch.
"""

import os
import re
from pathlib import Path

import psutil

from stages.runtime import git, guard
from stages.runtime.errors import UserError

# of DVC's moves, which name the commit in full, and are no person's
MOVE = re.compile(r"checkout: moving from (\S+) to [0-9a-f]{40}")
LOOKED_AT = "20"  # entries of git's log of moves


def find_lost_branch() -> str | None:
    """The branch that a killed ``dvc exp run`` left; None where none did, and while one runs."""
    if "DVC_EXP_NAME" in os.environ or git.ask("symbolic-ref", "--quiet", "HEAD") is not None:
        return None
    if git.ask("rev-parse", "--verify", "--quiet", "refs/exps/exec/EXEC_HEAD") is None:
        return None
    if is_dvc_running():
        return None
    moves = git.ask("log", "--walk-reflogs", "--format=%gs", "--max-count", LOOKED_AT, "HEAD")
    for move in (moves or "").splitlines():
        if not move.startswith("checkout: moving"):
            continue
        left = MOVE.fullmatch(move)
        if left is None:  # a person's
            return None
        if git.ask("rev-parse", "--verify", "--quiet", f"refs/heads/{left[1]}") is not None:
            return left[1]
    return None


def refuse_beside_dvc() -> None:
    """Raise `UserError` where a run goes on in this folder, whose parameters would change under
    it."""
    if is_dvc_running():
        raise UserError("DVC runs in this folder: wait for it, or end it, and start again")


def is_dvc_running() -> bool:
    """Whether a DVC process works in this project, also in a folder of it, beside one that started
    this process."""
    own = psutil.Process().parents()
    for process in psutil.process_iter():
        try:
            if process not in own and guard.is_dvc(process) and works_here(Path(process.cwd())):
                return True
        except psutil.Error:
            continue
    return False


def works_here(folder: Path) -> bool:
    """Whether DVC, started in `folder`, works on the project of the current folder: not where a
    repository of its own lies between, as those of ``dvc exp run --temp`` do."""
    return find_root(folder) == find_root(Path.cwd()) is not None


def find_root(folder: Path) -> Path | None:
    """The nearest folder with a DVC repository: `folder`, or one above it."""
    roots = (one for one in (folder, *folder.parents) if (one / ".dvc").is_dir())
    return next(roots, None)


def lost_branch_warning() -> str:
    """What to say of a branch that was lost, and what to type; empty where none was."""
    branch = find_lost_branch()
    if branch is None:
        return ""
    return (
        f"warning: a `dvc exp run` that was killed left git on no branch. `git switch {branch}` "
        "goes back and keeps its changes,\n         `make undo` goes back to the last commit\n"
    )
