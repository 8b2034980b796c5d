"""Stage source: what lies behind a data set, as a digest.

Reads what ``datasets.NAME.source`` points to; writes ``data/sources/NAME.json``:

    files, bytes   of the file, or of all files in the folder, but for hidden ones
    sha256         of the file; of a folder, of the list that ``sha256sum`` prints of these files,
                   by their paths in the folder, sorted

The stage download depends on this file instead of the source itself: DVC knows one instance of this
stage for each data set, and only one download, that of the data set which ``dataset`` names. Takes
a second per gigabyte.
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
