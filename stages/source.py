"""Stage source: record the digest of a data set's source.

Reads what ``datasets.NAME.source`` points to; writes ``data/sources/NAME.json``:

    files, bytes   number and size of the files: one file, or all in the folder but hidden ones
    sha256         of the file; for a folder, of the list that ``sha256sum`` prints of these files,
                   sorted by their paths in the folder

The stage download depends on this file instead of the source itself: DVC has an instance of this
stage for each data set, and a single download, of the data set that ``dataset`` names. Takes a
second per gigabyte.
"""

from pathlib import Path

from stages import params
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.sources.digests import describe_source
from stages.storage import files

FOLDER = Path("data/sources")


def main(dataset: str) -> None:
    options = params.load()
    source = Path(params.choose(dataset, options.datasets, "datasets").source)
    if not source.exists():
        raise UserError(f"datasets.{dataset}.source: {source} is missing")
    files.write_json(FOLDER / f"{dataset}.json", describe_source(source))


if __name__ == "__main__":
    cli.run(main, __doc__, dataset="the data set's key in `datasets`")
