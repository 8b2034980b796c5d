"""Digests of files and folders."""

import hashlib
import os
from pathlib import Path
from typing import Any

from stages.images.naming import is_hidden
from stages.runtime import progress
from stages.storage import files


def describe_source(source: Path) -> dict[str, Any]:
    """The number of files and bytes at `source`, a file or a folder, and their digest."""
    if not source.is_dir():
        return {"files": 1, "bytes": source.stat().st_size, "sha256": files.sha256(source)}
    paths = {}
    for folder, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not is_hidden(f"{name}/")]
        for path in (Path(folder, name) for name in names if not is_hidden(name)):
            if path.is_file():  # not a pipe: reading one could wait for ever
                paths[os.fsencode(path.relative_to(source))] = path
    return {
        "files": len(paths),
        "bytes": sum(path.stat().st_size for path in paths.values()),
        "sha256": digest_files(paths, f"digest of {source.name}"),
    }


def digest_files(paths: dict[bytes, Path], text: str) -> str:
    """SHA-256 of the list that ``sha256sum`` prints of `paths`, sorted by name; `text` labels the
    progress bar."""
    listing = hashlib.sha256()
    for name in progress.track(sorted(paths), text, "files"):
        listing.update(files.sha256(paths[name]).encode() + b"  " + name + b"\n")
    return listing.hexdigest()
