"""Stage source: what lies behind a data set, as a digest.

Reads what ``datasets.NAME.source`` points to; writes ``data/sources/NAME.json``:

    files, bytes   of the file, or of all files in the folder, but for hidden ones
    sha256         of the file; of a folder, of the list that ``sha256sum`` prints of these files,
                   by their paths in the folder, sorted

The stage download depends on this file instead of the source itself: DVC knows one instance of this
stage for each data set, and only one download, that of the data set which ``dataset`` names. Takes
a second per gigabyte.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from stages import params
from stages.images.naming import is_hidden
from stages.runtime import cli, progress
from stages.storage import files

FOLDER = Path("data/sources")


def describe_source(source: Path) -> dict[str, Any]:
    """The number of files and bytes at `source`, a file or a folder, and their digest."""
    if not source.is_dir():
        return {"files": 1, "bytes": source.stat().st_size, "sha256": files.sha256(source)}
    found = {}
    for folder, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for path in (Path(folder, name) for name in names if not is_hidden(name)):
            if path.is_file():  # and not a pipe, which nobody may ever write to
                found[os.fsencode(path.relative_to(source))] = path
    listing = hashlib.sha256()
    for name in progress.track(sorted(found), f"digest of {source.name}", "files"):
        listing.update(files.sha256(found[name]).encode() + b"  " + name + b"\n")
    return {
        "files": len(found),
        "bytes": sum(path.stat().st_size for path in found.values()),
        "sha256": listing.hexdigest(),
    }


def main(dataset: str) -> None:
    options = params.load()
    source = params.choose(dataset, options.datasets, "datasets").source
    description = describe_source(Path(source))
    files.write_json(FOLDER / f"{dataset}.json", description)


if __name__ == "__main__":
    cli.run(main, __doc__, dataset="the data set's key in `datasets`")
