"""Save a finished training of a search as a DVC experiment: a commit on no branch, which `dvc exp
show`, `apply` and `branch` find by its name."""

import json
import re
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.pipeline import keys, snapshot
from stages.params.reading import parse_yaml
from stages.runtime import git

PARAMS, LOCK, METRICS = "params.yaml", "dvc.lock", "reports/metrics.json"
AUTHOR = ("-c", "user.name=commands.search", "-c", "user.email=search@localhost")


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
    name: str,
    base: Base,
    parameters: str,
    stages: dict[str, Any],
    metrics: dict[str, dict[str, float]],
) -> None:
    """Save the experiment `name` of `base`, replacing any of this name.

    It has the tree of `base`, with `parameters` as the text of params.yaml and the entries of
    `stages` in dvc.lock. Its only metrics are `metrics`: the results of the other stages belong to
    the base; `dvc repro` makes those of the experiment after `dvc exp apply`.
    """
    from dvc.repo.experiments.refs import ExpRefInfo

    changed = {
        PARAMS: parameters,
        LOCK: keys.rewrite(base.files[LOCK], lambda content: content["stages"].update(stages)),
        METRICS: json.dumps(metrics, indent=2) + "\n",
    }
    with tempfile.TemporaryDirectory() as temporary:
        file, index = Path(temporary) / "file", str(Path(temporary) / "index")
        git.run("read-tree", base.content, GIT_INDEX_FILE=index)
        for path, text in changed.items():
            file.write_text(text, encoding="utf-8")
            blob = git.run("hash-object", "-w", str(file))
            entry = f"100644,{blob},{path}"
            git.run("update-index", "--add", "--cacheinfo", entry, GIT_INDEX_FILE=index)
        tree = git.run("write-tree", GIT_INDEX_FILE=index)
    message = f"commands.search: {name}"
    commit = git.run(*AUTHOR, "commit-tree", tree, "-p", base.head, "-m", message)
    remove(lambda other: other == name)  # perhaps of another commit: its reference is another one
    git.run("update-ref", str(ExpRefInfo(base.head, name)), commit)


def belongs_to(study: str, name: str) -> bool:
    """Whether `name` is that of a run of the study, as made by `Trainings.name_run`."""
    return re.fullmatch(rf"{re.escape(study)}-(\d+|base)(-seed-\d+)?", name) is not None


def remove_all(study: str) -> None:
    """Remove the experiments of a study, based on any commit."""
    remove(lambda name: belongs_to(study, name))


def remove(is_meant: Callable[[str], bool]) -> None:
    """Remove the experiments whose name is meant, based on any commit."""
    for reference in git.run("for-each-ref", "--format=%(refname)", "refs/exps").splitlines():
        if is_meant(reference.rpartition("/")[2]):
            git.run("update-ref", "-d", reference)
