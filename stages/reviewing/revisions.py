"""Two states of the project that are to be compared, read through DVC: commits, experiments, or the working tree."""

import io
import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dvc.api
import pandas as pd
from dvc.exceptions import DvcException
from dvc.repo import Repo
from ruamel.yaml import YAML

from stages.cli import UserError
from stages.reviewing import lock

PARAMETERS = ["params.yaml", "replications/params.yaml"]


def git(*arguments: str) -> str | None:
    """What a git command prints, or None when it fails."""
    result = subprocess.run(["git", *arguments], text=True, capture_output=True, check=False)
    return None if result.returncode else result.stdout.strip()


@dataclass(frozen=True)
class Revision:
    """A commit, or the working tree where `commit` is None. What a revision does not hold is None, or empty."""

    name: str  # in words
    commit: str | None

    @cached_property
    def _files(self) -> dvc.api.DVCFileSystem:
        return dvc.api.DVCFileSystem(rev=self.commit)

    def text(self, path: str) -> str | None:
        try:
            return self._files.read_text(path, encoding="utf-8")
        except (OSError, DvcException):
            return None

    def json(self, path: str) -> Any:
        text = self.text(path)
        return text and json.loads(text)

    def table(self, path: str) -> pd.DataFrame | None:
        text = self.text(path)
        names = {"actual": str, "predicted": str}  # of classes: digits are names too
        return None if text is None else pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=names)

    def report(self, model: str, name: str) -> Any:
        """One of the files that evaluate wrote of a model."""
        read = self.json if name.endswith(".json") else self.table
        return read(f"reports/models/{model}/{name}")

    @cached_property
    def models(self) -> list[str]:
        """The models that have results."""
        return list(self.json("reports/metrics.json") or {})

    @cached_property
    def selected(self) -> str | None:
        return (self.json("reports/selection.json") or {}).get("selected")

    @cached_property
    def lock(self) -> lock.Lock:
        return lock.parse(self.text("dvc.lock") or "stages: {}", f"dvc.lock of {self.name}")

    @cached_property
    def dataset(self) -> str | None:
        return (YAML(typ="safe").load(self.text("params.yaml") or "{}") or {}).get("dataset")

    @cached_property
    def data(self) -> str | None:
        """The digest of the data set."""
        return lock.digests(self.lock, "split").get(f"data/raw/{self.dataset}")

    def outdated(self) -> list[str]:
        """The stages whose results are not those of the revision's code and parameters."""
        return lock.outdated(self.commit)


def same_test_data(one: Revision, other: Revision) -> bool:
    """Whether both were tested on the same images: the same array, or the same data set split in the same way and prepared in
    another."""
    arrays = [lock.digests(revision.lock, "export").get("data/prepared/test.npy") for revision in (one, other)]
    splits = [lock.digests(revision.lock, "split", "outs").get("data/split") for revision in (one, other)]
    return arrays[0] == arrays[1] is not None or (one.data == other.data is not None and splits[0] == splits[1] is not None)


def changed_parameters(base: Revision, head: Revision) -> list[dict[str, Any]]:
    """The parameters that differ, as ``dvc params diff`` finds them: name, old, new; None where there is none."""
    with Repo() as repo:
        found = repo.params.diff(a_rev=base.commit, b_rev=head.commit or "workspace", targets=PARAMETERS).get("diff", {})
    return [
        {"name": name, "old": values.get("old"), "new": values.get("new")}
        for file in sorted(found)
        for name, values in found[file].items()
    ]


def working_tree() -> tuple[Revision, list[str]]:
    """The working tree, and its files that differ from the last commit."""
    changed = git("status", "--porcelain", "--untracked-files=no")
    if changed is None:
        raise UserError("a review compares revisions: this folder is no git repository")
    head = git("rev-parse", "--short", "HEAD")
    files = [line.split(maxsplit=1)[1] for line in changed.splitlines()]
    name = (
        f"the working tree on {head}"
        if files and head
        else "the working tree"
        if not head
        else f"{head} ({git('log', '-1', '--format=%s')})"
    )
    return Revision(name, None), files


def commit(name: str) -> str | None:
    """The commit that a name stands for: a branch, also of `origin` alone, a tag, a digest, or an experiment of DVC."""
    for one in (name, f"origin/{name}"):
        found = git("rev-parse", "--verify", "--quiet", f"{one}^{{commit}}")
        if found:
            return found
    return (git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}") or "").split("\n")[0] or None


def named(name: str, commit: str) -> str:
    """A commit in words, by the name that led to it."""
    return commit[:7] if commit.startswith(name) else f"{name} ({commit[:7]})"


def base_of(name: str, head: Revision, dirty: bool) -> tuple[Revision | None, str]:
    """What `head` is compared with: the commit where it left the branch `name`; else None and why there is none, in a sentence."""
    if not git("rev-parse", "--verify", "--quiet", "HEAD"):
        return None, "There is no commit yet: nothing to compare with."
    shallow = git("rev-parse", "--is-shallow-repository") == "true"
    fetch = "This clone is shallow: its history ends early. `git fetch --unshallow` brings the rest."
    tip = commit(name)
    if not tip:
        return None, fetch if shallow else f"There is no revision `{name}` here: nothing to compare with. Is it fetched?"
    where = git("merge-base", tip, head.commit or "HEAD")
    if not where:
        return None, fetch if shallow else f"The histories of `{name}` and this revision have no commit in common."
    if where == (head.commit or git("rev-parse", "HEAD")) and not dirty:
        if not shallow and not git("rev-parse", "--verify", "--quiet", f"{where}^"):
            return None, "This is the first commit: nothing to compare with."
        return None, f"This revision is part of `{name}`, without a change of its own: nothing to compare."
    return Revision(named(name, where), where), ""


def not_in_cache() -> list[str]:
    """The outputs of the pipeline that DVC's cache does not hold."""
    with Repo() as repo:
        return sorted(str(out) for out in repo.index.outs if out.use_cache and out.hash_info and out.changed_cache())
