"""Whether results belong to the code and the parameters beside them, and what they were made from: by ``dvc.lock``, through DVC."""

import contextlib
import hashlib
import io
import json
import logging
from typing import Any

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

Lock = dict[str, Any]  # the stages of dvc.lock by their names


def outdated() -> list[str]:
    """The stages of the workspace that ``dvc repro`` would run, the first one at least; empty where ``dvc.lock`` is up to date.

    Neither data nor models need to be there (``dvc repro --dry --allow-missing``): their digests in ``dvc.lock`` do. Where DVC cannot
    go on without them, its error stands for the stage."""
    logging.getLogger("dvc").setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()), Repo() as repo:
        try:
            return [stage.addressing for stage in repo.reproduce(dry=True, allow_missing=True)]
        except DvcException as error:
            return [str(error).removeprefix("failed to reproduce ").strip("'")]


def parse(text: str) -> Lock:
    """The stages of a lock file, by its text."""
    return yaml.safe_load(text)["stages"]


def parameters(lock: Lock, stage: str) -> dict[str, Any]:
    """The parameters that made the results of `stage`, without the seed."""
    return {key: value for key, value in lock[stage]["params"]["params.yaml"].items() if key != "seed"}


def digests(lock: Lock, stage: str) -> dict[str, str]:
    """The digests of the dependencies of `stage`, by their paths."""
    return {dependency["path"]: dependency["md5"] for dependency in lock[stage]["deps"]}


def digest(value: Any) -> str:
    """A short digest of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
