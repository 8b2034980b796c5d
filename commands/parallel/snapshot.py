"""The user's working tree as a git commit that no branch knows, with what is changed and not
committed, and new files."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from stages.runtime.errors import UserError


def git(*arguments: str, **variables: str) -> str:
    result = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, env=os.environ | variables
    )
    if result.returncode:
        raise UserError(f"git {arguments[0]} failed: {result.stderr.strip()}")
    return result.stdout.strip()


def tree() -> str:
    """The id of the working tree's content: of all files that git does not ignore. The index stays
    as it is."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "index"
        if (index := Path(git("rev-parse", "--git-path", "index"))).exists():
            shutil.copy(index, copy)
        git("add", "--all", GIT_INDEX_FILE=str(copy))
        return git("write-tree", GIT_INDEX_FILE=str(copy))


def commit(content: str) -> tuple[str, str]:
    """The commit HEAD, and one on top of it that holds the tree `content`: HEAD itself where that
    is the same."""
    head = git("rev-parse", "--verify", "HEAD^{commit}")
    if git("rev-parse", "HEAD^{tree}") == content:
        return head, head
    author = ("-c", "user.name=commands.parallel", "-c", "user.email=parallel@localhost")
    return head, git(*author, "commit-tree", content, "-p", head, "-m", "the working tree")


def bundle(commit: str) -> bytes:
    """A git bundle with `commit` and all before it. Raises `UserError` in a shallow clone, which
    lacks what is before."""
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise UserError(
            "this is a shallow clone, and workers need the whole history: `git fetch --unshallow` "
            "brings it"
        )
    reference = f"refs/parallel/{commit}"
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "bundle"
        git("update-ref", reference, commit)
        try:
            git("bundle", "create", "--quiet", str(file), reference)
        finally:
            git("update-ref", "-d", reference)
        return file.read_bytes()
