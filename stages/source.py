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
from stages.sources.digests import describe_source
from stages.storage import files

FOLDER = Path("data/sources")


def main(dataset: str) -> None:
    options = params.load()
    source = params.choose(dataset, options.datasets, "datasets").source
    description = describe_source(Path(source))
    files.write_json(FOLDER / f"{dataset}.json", description)


if __name__ == "__main__":
    cli.run(main, __doc__, dataset="the data set's key in `datasets`")
