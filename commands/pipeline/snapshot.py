"""The user's working tree as a git commit that no branch knows, with what is changed and not
committed, and new files."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from commands.pipeline import sources
from stages.runtime import git
from stages.runtime.errors import UserError


def tree(without: Iterable[str] = ()) -> str:
    """The id of the working tree's content: of all files that git does not ignore, but for those at
    the paths `without`. The index stays as it is."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "index"
        if (index := Path(git.run("rev-parse", "--git-path", "index"))).exists():
            shutil.copy(index, copy)
        git.run("add", "--all", "--", *sources.exclude(without), GIT_INDEX_FILE=str(copy))
        return git.run("write-tree", GIT_INDEX_FILE=str(copy))


def list_changes(before: str, after: str) -> list[str]:
    """The files that differ between two trees."""
    return git.run("diff-tree", "-r", "--name-only", before, after).splitlines()


def commit(content: str) -> tuple[str, str]:
    """The commit HEAD, and one on top of it that holds the tree `content`: HEAD itself where that
    is the same."""
    head = git.run("rev-parse", "--verify", "HEAD^{commit}")
    if git.run("rev-parse", "HEAD^{tree}") == content:
        return head, head
    author = ("-c", "user.name=commands.parallel", "-c", "user.email=parallel@localhost")
    return head, git.run(*author, "commit-tree", content, "-p", head, "-m", "the working tree")


def bundle(commit: str) -> bytes:
    """A git bundle with `commit` and all before it. Raises `UserError` in a shallow clone, which
    lacks what is before."""
    if git.run("rev-parse", "--is-shallow-repository") == "true":
        raise UserError(
            "this is a shallow clone, and workers need the whole history: `git fetch --unshallow` "
            "brings it"
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
