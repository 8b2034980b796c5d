"""Save a finished training of a search as a DVC experiment: a commit on no branch, which `dvc exp
show`, `apply` and `branch` find by its name.

All worktrees of a repository share its experiments, but each has studies of its own. So a study
records the commits of its experiments, and no other is ever replaced or deleted."""

import json
import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from dvc.repo.experiments.refs import ExpRefInfo

from commands.pipeline import keys, snapshot
from commands.searching import studies
from stages.params.reading import parse_yaml
from stages.runtime import git
from stages.runtime.errors import UserError
from stages.runtime.experiments import find_named, get_name

PARAMS, LOCK, METRICS = "params.yaml", "dvc.lock", "reports/metrics.json"


@dataclass(frozen=True)
class Base:
    """The state on which all trials are based, even if the working tree changes meanwhile: the
    `values` of ``params.yaml``, the texts of the `files` that an experiment changes, the tree id of
    the `content`, and its parent commit `head`."""

    values: dict[str, Any]
    files: dict[str, str]
    content: str
    head: str


def read_base(parameters: str, untracked: Collection[str]) -> Base:
    """The working tree as it is, with `parameters` as the text of params.yaml, and without the
    `untracked` data sets and weights."""
    files = {PARAMS: parameters, LOCK: Path(LOCK).read_text(encoding="utf-8")}
    values = parse_yaml(parameters, Path(PARAMS))
    head = git.run("rev-parse", "--verify", "HEAD^{commit}")
    return Base(values, files, snapshot.write_tree(untracked), head)


def save(
    study: optuna.Study,
    name: str,
    base: Base,
    parameters: str,
    stages: dict[str, Any],
    metrics: dict[str, dict[str, float]],
) -> None:
    """Save the experiment `name` of `base`, replacing any of this name that the study saved. Raises
    `UserError` if there is another of this name.

    It has the tree of `base`, with `parameters` as the text of params.yaml and the entries of
    `stages` in dvc.lock. Its only metrics are `metrics`: the results of the other stages belong to
    the base; `dvc repro` makes those of the experiment after `dvc exp apply`.
    """
    changed = {
        PARAMS: parameters,
        LOCK: keys.rewrite(
            base.files[LOCK], LOCK, lambda content: content["stages"].update(stages)
        ),
        METRICS: json.dumps(metrics, indent=2) + "\n",
    }
    with tempfile.TemporaryDirectory() as temporary:
        index = str(Path(temporary) / "index")
        git.run("read-tree", base.content, GIT_INDEX_FILE=index)
        for path, text in changed.items():
            blob = git.run("hash-object", "-w", "--stdin", given=text)
            entry = f"100644,{blob},{path}"
            git.run("update-index", "--add", "--cacheinfo", entry, GIT_INDEX_FILE=index)
        tree = git.run("write-tree", GIT_INDEX_FILE=index)
    commit = git.commit_tree(tree, [base.head], f"commands.search: {name}", "commands.search")
    own, found = studies.list_saved(study), find_named(lambda other: other == name)
    refuse_others(study.study_name, own, found)
    studies.record_saved(study, commit)  # first: a reference alone would be another's
    remove(own, found)  # perhaps based on another commit: another reference
    # with an empty old value, git refuses to replace what another search has saved meanwhile
    git.run("update-ref", str(ExpRefInfo(base.head, name)), commit, "")


def belongs_to(study: str, name: str) -> bool:
    """Whether `name` is that of a run of the study, as made by `Trainings.name_run`."""
    return re.fullmatch(rf"{re.escape(study)}-(\d+|base)(-seed-\d+)?", name) is not None


def refuse_others(study: str, own: Collection[str], found: dict[str, str]) -> None:
    """Raise `UserError` if one of the experiments `found`, commits by reference, is not among the
    study's `own` commits."""
    names = {get_name(ref) for ref, commit in found.items() if commit not in own}
    if names:
        listed = " ".join(sorted(names))
        raise UserError(
            f"these experiments have names of the study {study}, but it did not save them: "
            f"{listed}. Perhaps a search in another worktree did, or one whose study was deleted. "
            f"Copy searches/{study}.yaml to another name, or delete them: `dvc exp remove {listed}`"
        )


def remove(own: Collection[str], found: dict[str, str]) -> None:
    """Remove those of the experiments `found`, commits by reference, that are among a study's `own`
    commits."""
    for reference, commit in found.items():
        if commit in own:
            git.run("update-ref", "-d", reference, commit)


def find_named_after(study: str) -> dict[str, str]:
    """The experiments that are named like runs of the study, as by `find_named`."""
    return find_named(lambda name: belongs_to(study, name))
