"""Where in git's history the revisions of a review lie."""

import argparse
from dataclasses import dataclass

from commands.reviewing.revisions import Revision, strip_markup
from stages.runtime import escape, git
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
    """The commit that a name stands for: a branch, also of `origin` alone, a tag, a digest, or an
    experiment of DVC. Raises `UserError` where several experiments have it."""
    for one in (name, f"origin/{name}"):
        found = git.ask("rev-parse", "--verify", "--quiet", f"{one}^{{commit}}")
        if found:
            return found
    refs = (
        git.ask("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps") or ""
    ).splitlines()
    # refs/exps/12/3456/NAME
    found = [ref.split()[0] for ref in refs if ref.count("/") == 4 and ref.endswith(f"/{name}")]
    if len(found) > 1:
        digests = ", ".join(one[:7] for one in found)
        raise UserError(
            f"{len(found)} experiments are called {name!r}, {digests}: name one by its digest"
        )
    return found[0] if found else None


def name_commit(name: str, commit: str) -> str:
    """A commit in words: by the name that led to it, where that stays as it is in Markdown."""
    known = not commit.startswith(name) and strip_markup(name) == name
    return f"{name} ({commit[:7]})" if known else commit[:7]


@dataclass(frozen=True)
class Base:
    """What a revision is compared with. Where there is no `revision`, `why` says so in a sentence;
    `lost`: there must be one, and this clone does not have it."""

    revision: Revision | None
    why: str = ""
    lost: bool = False


def find_base(name: str, head: Revision, dirty: bool) -> Base:
    """What `head` is compared with: the commit where it left the branch `name`."""
    if not git.ask("rev-parse", "--verify", "--quiet", "HEAD"):
        return Base(None, "There is no commit yet: nothing to compare with.")
    shallow = git.ask("rev-parse", "--is-shallow-repository") == "true"
    fetch = (
        "This clone is shallow: its history ends early. `git fetch --unshallow` brings the rest."
    )
    branch = escape.code(name)
    tip = find_commit(name)
    if not tip:
        missing = f"There is no revision {branch} here: nothing to compare with. Is it fetched?"
        return Base(None, fetch if shallow else missing, lost=True)
    where = git.ask("merge-base", tip, head.commit or "HEAD")
    if not where:
        apart = f"The histories of {branch} and this revision have no commit in common."
        return Base(None, fetch if shallow else apart, lost=True)
    if where == (head.commit or git.ask("rev-parse", "HEAD")) and not dirty:
        if not shallow and not git.ask("rev-parse", "--verify", "--quiet", f"{where}^"):
            return Base(None, "This is the first commit: nothing to compare with.")
        part = f"This revision is part of {branch}, without a change of its own"
        return Base(None, f"{part}: nothing to compare.")
    return Base(Revision(name_commit(name, where), where))
