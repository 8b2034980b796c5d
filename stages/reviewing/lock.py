"""Whether results belong to the code and the parameters beside them, and what they were made from: by ``dvc.lock``, through DVC."""

import contextlib
import functools
import hashlib
import io
import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage
from dvc.utils.serialize import load_path
from ruamel.yaml import YAML, YAMLError

from stages import cli
from stages.cli import UserError

Lock = dict[str, Any]  # the stages of dvc.lock by their names


@contextlib.contextmanager
def opened(revision: str | None) -> Iterator[Repo]:
    """DVC's view of the working tree, or of a temporary clone at `revision`, which is the current folder meanwhile."""
    logging.getLogger("dvc").setLevel(logging.WARNING)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if revision:
            clone = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="revision-"))) / "clone"
            subprocess.run(["git", "clone", "--quiet", "--shared", "--no-checkout", os.getcwd(), str(clone)], check=True)
            subprocess.run(["git", "checkout", "--quiet", "--detach", revision], cwd=clone, check=True)
            stack.enter_context(contextlib.chdir(clone))
        yield stack.enter_context(Repo())


def outdated(revision: str | None = None) -> list[str]:
    """The stages that ``dvc repro`` would run, the first one at least: in the working tree, or at `revision`. Empty where
    ``dvc.lock`` is up to date.

    Data and models need not be there (``dvc repro --dry --allow-missing``): their digests in ``dvc.lock`` do. Where DVC cannot
    go on without them, its error stands for the stage. Results that lie in git (``cache: false``) must be there: a stage that
    lacks some stands with their paths."""
    with opened(revision) as repo:
        found: dict[str, str] = {}  # by the stage's name, what is said of it
        try:
            for stage in repo.stage.collect("dvc.yaml"):
                if missing := [str(out) for out in stage.outs if not out.use_cache and not out.exists]:
                    found[stage.addressing] = f"{stage.addressing} (missing: {', '.join(missing)})"
            names = [stage.addressing for stage in repo.reproduce(dry=True, allow_missing=True)]
        except DvcException as error:
            names = [str(error).removeprefix("failed to reproduce ").strip("'")]
        return list((dict(zip(names, names)) | found).values())


def outdated_replications(revision: str | None = None) -> list[str]:
    """The stages whose results are in the replications' table, but not those of the code and parameters. Each stage is looked at
    alone: ``dvc repro --dry`` cannot go on without the replications' data, which lie in no cache."""
    with opened(revision) as repo, repo.lock:
        path = Path("replications/dvc.lock")
        have_run = {"table", *(parse(path.read_text(encoding="utf-8"), str(path)) if path.exists() else ())}
        stages = [stage for stage in repo.stage.collect("replications/dvc.yaml") if stage.name in have_run]
        read = functools.cache(lambda path: load_path(path, repo.fs))
        return [stage.name for stage in stages if changed(stage, read)]


def changed(stage: Stage, read: Callable[[str], Any]) -> bool:
    """What ``stage.changed(allow_missing=True)`` says of a stage by itself. That parses the files of parameters anew for each
    stage, which would be a third of a review's time; `read` gives the content of such a file."""
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            if any(value_at(read(dep.fs_path), key) != (dep.hash_info.value or {}).get(key) for key in dep.params):
                return True
        elif dep.status().get(str(dep), "deleted") != "deleted":
            return True
    return stage.changed_stage() or stage.changed_outs(allow_missing=True)


def value_at(content: Any, key: str) -> Any:
    """What stands at a key of parameters, such as ``train.optimizer``; None where nothing does."""
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def parse(text: str, name: str = "dvc.lock") -> Lock:
    """The stages of a lock file, by its text. Raises `UserError` when that is damaged; `name` says which file it is."""
    try:
        return dict(YAML(typ="safe").load(text)["stages"])
    except (YAMLError, TypeError, KeyError, ValueError):
        raise UserError(f"{name} is damaged: bring an earlier version back by git, or make it anew by `dvc repro`") from None


def parameters(lock: Lock, stage: str) -> dict[str, Any]:
    """The parameters that made the results of `stage`, without the seed."""
    return {key: value for key, value in lock[stage]["params"]["params.yaml"].items() if key != "seed"}


def digests(lock: Lock, stage: str, kind: str = "deps") -> dict[str, str]:
    """The digests of what `stage` depends on, or of its outputs (`kind` outs), by their paths."""
    return {entry["path"]: entry["md5"] for entry in lock.get(stage, {}).get(kind, [])}


def digest(value: Any) -> str:
    """A short digest of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def main() -> None:
    stages = outdated()
    if stages:
        raise UserError(f"dvc.lock is out of date, or results are missing: `dvc repro` would run {', '.join(stages)}")
    print("dvc.lock is up to date: the results belong to this code and these parameters")


if __name__ == "__main__":
    cli.run(main, __doc__)
