"""Snapshot the user's working tree, with uncommitted changes and new files, as a git commit on no
branch."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from commands.pipeline import repository, sources
from stages.runtime import git
from stages.runtime.errors import UserError


def write_tree(without: Iterable[str] = ()) -> str:
    """Write the working tree to git: all files that git does not ignore, except those at the paths
    `without`. Returns the id of the tree object. The index is not changed."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "index"
        if (index := Path(git.run("rev-parse", "--git-path", "index"))).exists():
            shutil.copy2(index, copy)  # git compares its time with those of the files
        git.run("add", "--all", "--", *sources.exclude(without), GIT_INDEX_FILE=str(copy))
        return git.run("write-tree", GIT_INDEX_FILE=str(copy))


def list_changed_files(before: str, after: str) -> list[str]:
    """The files that differ between two trees."""
    # -z: else git would quote names with non-ASCII letters
    listed = git.run("diff-tree", "-r", "-z", "--name-only", before, after)
    return [*filter(None, listed.split("\0"))]


def commit(content: str) -> tuple[str, str]:
    """The commit HEAD, and a new commit on top of it with the tree `content`; HEAD again if it has
    that tree."""
    head = git.run("rev-parse", "--verify", "HEAD^{commit}")
    if git.run("rev-parse", "HEAD^{tree}") == content:
        return head, head
    return head, git.commit_tree(content, [head], "the working tree", "commands.parallel")


def make_bundle(commit: str) -> bytes:
    """A git bundle with `commit` and its history. Raises `UserError` in a shallow clone, which
    lacks the history."""
    if repository.is_shallow():
        raise UserError(
            "this is a shallow clone, but workers need the whole history: `git fetch --unshallow` "
            "fetches it"
        )
    reference = f"refs/parallel/{commit}"
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "bundle"
        git.run("update-ref", reference, commit)
        try:
            git.run("bundle", "create", "--quiet", str(file), reference)
        finally:
            git.run("update-ref", "-d", reference)
        return file.read_bytes()
