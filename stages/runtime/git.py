"""Run git."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from stages.runtime.errors import UserError

# variables by which git tells a hook its repository (those of ``git rev-parse --local-env-vars``
# that are not settings)
OF_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
)  # fmt: skip


def forget_hook() -> None:
    """Let this process and its children find git's repository by the current folder alone. In a
    hook, variables name one, which git would use for every clone too."""
    for name in OF_REPOSITORY:
        os.environ.pop(name, None)


def run(
    *arguments: str, folder: Path | None = None, given: str | None = None, **variables: str
) -> str:
    """Run ``git ARGUMENTS`` in `folder`, with `variables` added to its environment, and the text
    `given` as input; returns what it prints, without the final newline. Raises `UserError`, with
    git's own message, if it fails."""
    result = _start(arguments, folder, variables, given=given)
    if result is None:
        raise UserError("git is not installed")
    if result.returncode:
        why = result.stderr.strip() or result.stdout.strip()  # conflicts are reported on stdout
        raise UserError(f"git {arguments[0]} failed: {why}")
    return result.stdout.rstrip("\n")


def ask(*arguments: str, folder: Path | None = None) -> str | None:
    """As `run`, but None if git fails, as outside a repository or for an unknown revision."""
    result = _start(arguments, folder, {})
    return None if result is None or result.returncode else result.stdout.rstrip("\n")


def list_changed(*paths: str, folder: Path | None = None) -> list[str]:
    """The files at `paths`, or all, that differ from the last commit or are not in it, by their
    paths in the repository. A folder without any tracked file is listed as one, with a trailing
    slash. Raises `UserError`, as `run` does."""
    # -z: else git would quote names with spaces or non-ASCII letters
    # --untracked-files: the user's configuration may hide them
    options = ("--porcelain", "-z", "--no-renames", "--untracked-files=normal")
    listed = run("status", *options, "--", *paths, folder=folder)
    return [entry[3:] for entry in listed.split("\0") if entry]


def find_objects(names: Iterable[str]) -> list[str | None]:
    """The hash of each of these objects, such as ``COMMIT:PATH``, from a single process; None for
    one that does not exist. Raises `UserError`, as `run` does."""
    asked = "".join(f"{name}\n" for name in names)
    lines = run("cat-file", "--batch-check=%(objectname)", given=asked).splitlines()
    return [None if line.endswith(" missing") else line for line in lines]


def read_file(revision: str, path: str) -> bytes | None:
    """The content of a file of the current folder in a revision; None if it is not there."""
    result = _start(("show", f"{revision}:./{path}"), None, {}, text=False)
    return None if result is None or result.returncode else result.stdout


def commit_tree(tree: str, parents: Iterable[str], message: str, author: str) -> str:
    """Store a commit on no branch, with this `tree` and these `parents`; `author`: the module that
    makes it, such as ``commands.undo``. Returns its hash. Raises `UserError`, as `run` does."""
    options = [option for parent in parents for option in ("-p", parent)]
    names = {f"GIT_{role}_NAME": author for role in ("AUTHOR", "COMMITTER")}
    addresses = {f"GIT_{role}_EMAIL": f"{author}@localhost" for role in ("AUTHOR", "COMMITTER")}
    return run("commit-tree", tree, *options, "-m", message, **names, **addresses)


def _start(
    arguments: tuple[str, ...],
    folder: Path | None,
    variables: dict[str, str],
    text: bool = True,
    given: str | None = None,
) -> subprocess.CompletedProcess | None:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=os.environ | variables,
            input=given,
            capture_output=True,
            encoding="utf-8" if text else None,
            errors="surrogateescape" if text else None,  # names of files may have any bytes
        )
    except FileNotFoundError:
        return None
