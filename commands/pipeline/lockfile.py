"""Read DVC's lock files."""

from pathlib import Path
from typing import Any

from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML, YAMLError
from voluptuous import Invalid

from stages.runtime.errors import UserError

Lock = dict[str, Any]  # the stages of dvc.lock by their names


def parse(content: str | bytes, name: str = "dvc.lock") -> Lock:
    """The stages in the `content` of the lock file `name`. Raises `UserError` if it is damaged."""
    try:
        text = content.decode() if isinstance(content, bytes) else content
        return COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text)).get("stages", {})
    except (YAMLError, ValueError, Invalid):
        raise UserError(
            f"{name} is damaged: restore an earlier version with git, or recreate it by `dvc repro`"
        ) from None


def read(path: Path) -> Lock:
    """The stages of the lock file at `path`; empty if there is no file. Raises `UserError` if it is
    damaged."""
    return parse(path.read_bytes(), str(path)) if path.exists() else {}


def read_parameters(lock: Lock, stage: str) -> dict[str, Any]:
    """The parameters with which `stage` ran, without the seed."""
    return {
        key: value for key, value in lock[stage]["params"]["params.yaml"].items() if key != "seed"
    }


def read_digests(lock: Lock, stage: str, kind: str = "deps") -> dict[str, str]:
    """The digests of the dependencies of `stage`, or of its outputs (`kind` outs), by path, without
    those outside the project, which have none."""
    entries = lock.get(stage, {}).get(kind, [])
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}
