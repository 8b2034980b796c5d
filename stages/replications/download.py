"""Stage download of the replications: store a data set that the documents use.

Writes ``replications/raw/NAME/``, as the root's stage download writes ``data/raw/NAME/``; both
share the files downloaded from publishers.
"""

from pathlib import Path

from stages.runtime import cli
from stages.sources import dataset as datasets


def main(dataset: str) -> None:
    datasets.import_and_report(dataset, Path("replications/raw"))


if __name__ == "__main__":
    cli.run(main, __doc__, dataset="the data set's key in `datasets`")
