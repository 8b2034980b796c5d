"""A finished training of a search as a DVC experiment: a commit that no branch knows, which `dvc
exp show`, `apply` and `branch` know by its name."""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from commands.parallel import instance, snapshot
from stages.runtime import git

METRICS = "reports/metrics.json"
AUTHOR = ("-c", "user.name=commands.search", "-c", "user.email=search@localhost")


def set_parameters(settings: dict[str, Any], file: Path) -> None:
    """Set dotted keys in a copy of ``params.yaml``, as DVC's ``-S`` would."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(str(file)) as content:
        for key, value in settings.items():
            *sections, last = key.split(".")
            place = content
            for section in sections:
                place = place[section]
            place[last] = value


def write_parameters(settings: dict[str, Any]) -> str:
    """The text of ``params.yaml`` with `settings`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(shutil.copy("params.yaml", folder))
        set_parameters(settings, file)
        return file.read_text(encoding="utf-8")


def save(
    name: str,
    content: str,
    parameters: str,
    entries: dict[str, dict[str, Any]],
    metrics: dict[str, dict[str, float]],
) -> None:
    """Save the experiment `name` on HEAD; one of this name is replaced.

    It holds the tree `content` with the text `parameters` of params.yaml and with the `entries` of
    the stages that ran in their lock files. Its metrics are `metrics` alone: what the other stages
    made of the base does not belong to it, and `dvc repro` makes it after `dvc exp apply`.
    """
    from dvc.repo.experiments.refs import ExpRefInfo

    head, _ = snapshot.commit(content)
    with tempfile.TemporaryDirectory() as temporary:
        folder, index = Path(temporary), str(Path(temporary) / "index")
        changed = {"params.yaml": parameters, METRICS: json.dumps(metrics, indent=2) + "\n"}
        for lock, stages in entries.items():
            changed[lock] = enter(lock, stages, folder / "lock.yaml")
        git.run("read-tree", content, GIT_INDEX_FILE=index)
        for path, text in changed.items():
            (folder / "file").write_text(text, encoding="utf-8")
            blob = git.run("hash-object", "-w", str(folder / "file"))
            entry = f"100644,{blob},{path}"
            git.run("update-index", "--add", "--cacheinfo", entry, GIT_INDEX_FILE=index)
        tree = git.run("write-tree", GIT_INDEX_FILE=index)
    commit = git.run(*AUTHOR, "commit-tree", tree, "-p", head, "-m", f"commands.search: {name}")
    git.run("update-ref", str(ExpRefInfo(head, name)), commit)


def enter(lock: str, stages: dict[str, Any], copy: Path) -> str:
    """The text of a lock file with other entries of `stages`."""
    shutil.copy(lock, copy)
    instance.enter({str(copy): stages})
    return copy.read_text(encoding="utf-8")


def remove_all(study: str) -> None:
    """Remove the experiments of a study, of whatever commit."""
    own = re.compile(rf"refs/exps/.*/{re.escape(study)}-(\d+|base)(-seed-\d+)?")
    for reference in git.run("for-each-ref", "--format=%(refname)", "refs/exps").splitlines():
        if own.fullmatch(reference):
            git.run("update-ref", "-d", reference)
