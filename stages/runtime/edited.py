"""Detect parameters that were edited while a stage ran.

DVC reads a stage's parameters again when its command has ended, and records these values with the
result, in dvc.lock and in its run-cache: a model would pass for one trained with values that it
never saw, here and in each later run with these values.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from dvc.dependency import Dependency
    from dvc.repo import Repo

FILES = (
    Path("params.yaml"), Path("replications/params.yaml"), Path("replications/published.yaml")
)  # fmt: skip
ABSENT = object()
at_start: dict[Path, bytes] = {}  # the contents of the parameter files when this process started


def remember() -> None:
    """Remember the contents of the parameter files, for `refuse_edited`."""
    at_start.update(read_all())


def read_all() -> dict[Path, bytes]:
    """The contents of the parameter files; empty if DVC did not start this process."""
    if "DVC_STAGE" not in os.environ:
        return {}
    return {path: path.read_bytes() for path in FILES if path.exists()}


def refuse_edited() -> None:
    """Raise `UserError`, so that DVC records nothing, if a parameter that it would record has
    changed since `remember`. A training calls it before it puts its checkpoint away."""
    now = read_all()
    edited = {path: content for path, content in at_start.items() if now.get(path) != content}
    if edited and (keys := list_edited(edited)):
        raise UserError(
            f"edited while this ran: {', '.join(keys)}. DVC would have recorded the result with "
            "the new values, so it is discarded.\n       Run `dvc repro` again; with the old "
            "values, a finished training does not run again"
        )


def list_edited(before: dict[Path, bytes]) -> list[str]:
    """The keys, with their files, that the stage depends on and whose values have changed since
    `before`; only the files if DVC can no longer tell the dependencies."""
    from dvc.dependency.param import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.utils.serialize import parse_yaml

    from stages.params.reading import look_up

    edited = []
    try:
        with Repo() as repo:
            for dependency in find_dependencies(repo):
                path = Path(os.path.relpath(str(dependency.fs_path)))
                if not isinstance(dependency, ParamsDependency) or path not in before:
                    continue
                old = parse_yaml(before[path].decode(), path)
                now = parse_yaml(path.read_text(encoding="utf-8"), path)
                edited += [
                    f"{key} in {path}"
                    for key in dependency.params
                    if look_up(key, old, ABSENT) != look_up(key, now, ABSENT)
                ]
    except (DvcException, OSError):
        return [str(path) for path in before]
    return edited


def find_dependencies(repo: "Repo") -> list["Dependency"]:
    """The dependencies of the stage that this process runs, found by its command: DVC's name of the
    stage is relative to the folder where DVC was started. Raises `DvcException` if it is gone."""
    from dvc.exceptions import DvcException

    module = getattr(sys.modules["__main__"].__spec__, "name", "")
    command = ["-m", module, *sys.argv[1:]]
    for stage in repo.index.stages:
        if isinstance(stage.cmd, str) and shlex.split(stage.cmd)[1:] == command:
            return stage.deps
    raise DvcException(f"no stage runs {shlex.join(command)}")
