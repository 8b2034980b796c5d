"""Whether parameters were edited while a stage ran.

DVC reads the parameters of a stage again when its command has ended, and records these values with
the result, in dvc.lock and in its run-cache: a model would pass for one that was trained with
values that it never saw, here and in each later run that asks for them.
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


def read_all() -> dict[Path, bytes]:
    """The content of the files with parameters; nothing where DVC did not start this process."""
    if "DVC_STAGE" not in os.environ:
        return {}
    return {path: path.read_bytes() for path in FILES if path.exists()}


def refuse_edited(before: dict[Path, bytes]) -> None:
    """Raise `UserError`, so that DVC records nothing, where a parameter that it would record has
    another value than in the files as they were `before`."""
    now = read_all()
    edited = {path for path, content in before.items() if now.get(path) != content}
    if edited and (keys := list_edited({path: before[path] for path in edited})):
        raise UserError(
            f"edited while this ran: {', '.join(keys)}. DVC would have recorded the result with "
            "the new values, so it is not kept.\n       Start `dvc repro` again; with the old "
            "values, a training that had ended is not run again"
        )


def list_edited(before: dict[Path, bytes]) -> list[str]:
    """The keys, with their files, that the stage depends on and that have another value than
    `before`. Where DVC cannot tell any more on what it depends, the files alone."""
    from dvc.dependency.param import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.utils.serialize import parse_yaml

    from stages.params.reading import look_up

    found = []
    try:
        with Repo() as repo:
            for dependency in find_dependencies(repo):
                path = Path(os.path.relpath(str(dependency.fs_path)))
                if not isinstance(dependency, ParamsDependency) or path not in before:
                    continue
                old = parse_yaml(before[path].decode(), path)
                now = parse_yaml(path.read_text(encoding="utf-8"), path)
                found += [
                    f"{key} in {path}"
                    for key in dependency.params
                    if look_up(key, old, ABSENT) != look_up(key, now, ABSENT)
                ]
    except (DvcException, OSError):
        return [str(path) for path in before]
    return found


def find_dependencies(repo: "Repo") -> list["Dependency"]:
    """What the stage depends on that this process runs: DVC's name of it is relative to the folder
    that DVC was started in. Raises `DvcException` where there is none any more."""
    from dvc.exceptions import DvcException

    module = getattr(sys.modules["__main__"].__spec__, "name", "")
    command = ["-m", module, *sys.argv[1:]]
    for stage in repo.index.stages:
        if isinstance(stage.cmd, str) and shlex.split(stage.cmd)[1:] == command:
            return stage.deps
    raise DvcException(f"no stage runs {shlex.join(command)}")
