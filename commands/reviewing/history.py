"""Find the revisions of a review in git's history."""

import argparse
from dataclasses import dataclass

from commands.pipeline import repository
from commands.reviewing.revisions import Revision, strip_markup
from stages.runtime import escape, experiments, git
from stages.runtime.errors import UserError


def add_base_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        default="main",
        help="the branch or revision to compare with (default: %(default)s)",
    )


def read_working_tree() -> tuple[Revision, list[str]]:
    """The working tree, and its files that differ from the last commit."""
    files = git.list_changed()
    head = git.ask("rev-parse", "--short", "HEAD")
    if not head:
        name = "the working tree"
    elif files:
        name = f"the working tree on {head}"
    else:
        name = f"{head} ({strip_markup(git.ask('log', '-1', '--format=%s'))})"
    return Revision(name, None), files


def find_commit(name: str) -> str | None:
    """The commit that a name stands for: a branch, perhaps only of `origin`, a tag, a hash, or a
    DVC experiment; None if there is none. Raises `UserError` if several experiments have that
    name."""
    for candidate in (name, f"origin/{name}"):
        commit = git.ask("rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}")
        if commit:
            return commit
    commits = [*experiments.find_named(lambda other: other == name).values()]
    if len(commits) > 1:
        hashes = ", ".join(commit[:7] for commit in commits)
        raise UserError(
            f"{len(commits)} experiments are called {name!r}: {hashes}: give the hash of one"
        )
    return commits[0] if commits else None


def name_commit(name: str, commit: str) -> str:
    """A commit's short hash, after the name that led to it if that has no Markdown markup."""
    known = not commit.startswith(name) and strip_markup(name) == name
    return f"{name} ({commit[:7]})" if known else commit[:7]


@dataclass(frozen=True)
class Base:
    """The `revision` to compare with. If it is None, `why` explains that in a sentence; `lost`:
    there should be one, but it is missing in this clone. `note`: a sentence on the choice, if there
    was one."""

    revision: Revision | None
    why: str = ""
    lost: bool = False
    note: str = ""


def find_fork(name: str, tip: str, head: str) -> tuple[str | None, str]:
    """The commit where `head` branched off from the branch `name`, whose last commit is `tip`, and
    the branch that led to it; None if their histories have no commit in common. A branch of this
    clone may be older than that of `origin`, from which `head` then branched off."""
    fork = git.ask("merge-base", tip, head)
    if git.ask("rev-parse", "--verify", "--quiet", f"refs/heads/{name}"):
        later = git.ask("merge-base", f"refs/remotes/origin/{name}", head)
        if later not in (None, fork) and (
            not fork or git.ask("merge-base", "--is-ancestor", fork, later) is not None
        ):
            return later, f"origin/{name}"
    return fork, name


def find_base(name: str, head: Revision, dirty: bool) -> Base:
    """The base of the comparison: the commit where `head` branched off from `name`."""
    if not git.ask("rev-parse", "--verify", "--quiet", "HEAD"):
        return Base(None, "There is no commit yet: nothing to compare with.")
    shallow = repository.is_shallow()
    fetch = "This clone is shallow and lacks older commits: `git fetch --unshallow` fetches them."
    branch = escape.code(name)
    tip = find_commit(name)
    if not tip:
        missing = (
            f"There is no revision {branch} here, so nothing to compare with. Has it been fetched?"
        )
        return Base(None, fetch if shallow else missing, lost=True)
    fork, place = find_fork(name, tip, head.commit or "HEAD")
    if not fork:
        unrelated = f"The histories of {branch} and this revision have no commit in common."
        return Base(None, fetch if shallow else unrelated, lost=True)
    if fork == (head.commit or git.ask("rev-parse", "HEAD")) and not dirty:
        if not shallow and not git.ask("rev-parse", "--verify", "--quiet", f"{fork}^"):
            return Base(None, "This is the first commit: nothing to compare with.")
        unchanged = f"This revision is part of {escape.code(place)} and has no changes of its own"
        return Base(None, f"{unchanged}: nothing to compare.")
    note = (
        f"The branch {branch} of this clone is older than {escape.code(place)}, from which this "
        "revision branched off: it is compared with the latter."
    )
    revision = Revision(name_commit(place, fork), fork)
    return Base(revision, note=note if place != name else "")
