"""The files that stages write and DVC does not track, such as run.json: kept from the end of a
stage on a worker until its result is in the working tree, perhaps by a later run."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from commands.pipeline import lockfile
from commands.pipeline.graph import Instance
from stages.storage import files

FOLDER = Path(".dvc/tmp/parallel/records")  # git ignores it


def keep(instance: Instance, entry: dict[str, Any], texts: dict[str, str]) -> None:
    """Keep the `texts` of the files that a stage wrote, by path; `entry` is its entry in the lock
    file. Without any, its result came from the cache, and what was kept before stays."""
    if texts:
        content = {"lock": instance.lock, "stage": instance.name, "entry": entry, "texts": texts}
        files.write_json(FOLDER / f"{quote(instance.address, safe='')}.json", content)


def restore() -> None:
    """Write the files of all stages whose entries are in the lock files now, but none over a newer
    one: the stage may have run here since."""
    for path in sorted(FOLDER.glob("*.json")):
        kept = files.read_json(path)
        if lockfile.read(Path(kept["lock"])).get(kept["stage"]) == kept["entry"]:
            for file, text in kept["texts"].items():
                here = Path(file)
                if not here.exists() or here.stat().st_mtime < path.stat().st_mtime:
                    files.write_text(here, text)
            files.remove(path)
