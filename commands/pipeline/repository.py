"""DVC's view of the pipeline, in the working tree or at a revision, and its lock."""

import contextlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from stages.runtime import git
from stages.runtime.errors import UserError

BUSY = "another DVC command is running in this folder: wait for it, or stop it"


class Busy(UserError):
    """Another DVC command is running here."""


class Unreadable(UserError):
    """DVC cannot read a pipeline."""


@contextlib.contextmanager
def open_repo(revision: str | None) -> Iterator[Repo]:
    """DVC's view of the working tree, or of a temporary clone at `revision`, which shares DVC's
    cache and is the current folder inside the block. Raises `Unreadable` if DVC cannot read the
    pipeline, `Busy` if another DVC command is running there.

    DVC's lock is not held: otherwise a concurrent `dvc repro`, which takes the lock between two
    stages, would fail."""
    logging.getLogger("dvc").setLevel(logging.WARNING)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            config = stack.enter_context(clone_at(revision)) if revision else None
            repo = stack.enter_context(Repo(config=config))
            with repo.lock:
                pass
            yield repo
        except LockError:
            raise Busy(BUSY) from None
        except DvcException as error:
            where = f" of {revision[:7]}" if revision else ""
            why = str(error).replace(os.getcwd() + os.sep, "")
            raise Unreadable(f"DVC cannot read the pipeline{where}: {why}") from None


def find_cache() -> str:
    """The folder of DVC's cache."""
    with Repo() as repo:
        return repo.cache.local_cache_dir


@contextlib.contextmanager
def hold_lock(repo: Repo) -> Iterator[None]:
    """Hold DVC's lock. Raises `Busy` if another DVC command does not release it soon."""
    try:
        with repo.lock:
            yield
    except LockError:
        raise Busy(BUSY) from None


@contextlib.contextmanager
def clone_at(revision: str) -> Iterator[dict[str, Any]]:
    """Work in a temporary clone at `revision`, a commit, branch or tag. Yields a configuration with
    which DVC uses this project's cache, and leaves no traces of the clone elsewhere."""
    cache = find_cache()
    commit = git.run("rev-parse", "--verify", f"{revision}^{{commit}}")  # the clone has no branches
    with tempfile.TemporaryDirectory(prefix="revision-") as folder:
        clone = Path(folder) / "clone"
        make_clone(clone, commit)
        with contextlib.chdir(clone):
            yield {"cache": {"dir": cache}, "core": {"site_cache_dir": str(Path(folder) / "site")}}


def make_clone(target: Path, commit: str) -> None:
    """Make a repository in `target` that has `commit` checked out, and reads all commits from this
    one, even those of a shallow clone, which ``git clone --shared`` would leave out."""
    asked = ("--git-path", "objects", "--git-path", "shallow", "--show-object-format")
    objects, shallow, form = git.run("rev-parse", *asked).split("\n")
    # none of the user's hooks, of a template or of core.hooksPath, is to run on checkout
    git.run("init", "--quiet", "--template=", f"--object-format={form}", str(target))
    git.run("config", "core.hooksPath", os.devnull, folder=target)
    alternates = target / ".git/objects/info/alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_bytes(os.fsencode(f"{os.path.abspath(objects)}\n"))
    if os.path.exists(shallow):
        shutil.copy(shallow, target / ".git/shallow")
    git.run("checkout", "--quiet", "--detach", commit, folder=target)


def is_shallow() -> bool:
    """Whether this is a shallow clone, which lacks older commits."""
    return git.ask("rev-parse", "--is-shallow-repository") == "true"
