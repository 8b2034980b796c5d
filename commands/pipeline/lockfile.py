"""What stands in a lock file."""

from pathlib import Path
from typing import Any

from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML, YAMLError
from voluptuous import Invalid

from stages.runtime.errors import UserError

Lock = dict[str, Any]  # the stages of dvc.lock by their names


def parse(text: str, name: str = "dvc.lock") -> Lock:
    """The stages of a lock file, by its text. Raises `UserError` when that is damaged; `name` says
    which file it is."""
    try:
        return COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text)).get("stages", {})
    except (YAMLError, ValueError, Invalid):
        raise UserError(
            f"{name} is damaged: bring an earlier version back by git, or make it anew by `dvc "
            "repro`"
        ) from None


def read(path: Path) -> Lock:
    """The stages of the lock file at `path`; none where there is no file. Raises `UserError` when
    it is damaged."""
    return parse(path.read_text(encoding="utf-8"), str(path)) if path.exists() else {}


def read_parameters(lock: Lock, stage: str) -> dict[str, Any]:
    """The parameters that made the results of `stage`, without the seed."""
    return {
        key: value for key, value in lock[stage]["params"]["params.yaml"].items() if key != "seed"
    }


def read_digests(lock: Lock, stage: str, kind: str = "deps") -> dict[str, str]:
    """The digests of what `stage` depends on, or of its outputs (`kind` outs), by their paths."""
    return {entry["path"]: entry["md5"] for entry in lock.get(stage, {}).get(kind, [])}
