"""Stage download of the replications: a data set that the documents use.

Writes ``replications/raw/NAME/``, as the root's stage download writes ``data/raw/NAME/``; what was
fetched from publishers serves both.
"""

from pathlib import Path

from stages.runtime import cli
from stages.sources import dataset as datasets


def main(dataset: str) -> None:
    datasets.import_and_report(dataset, Path("replications/raw"))


if __name__ == "__main__":
    cli.run(main, __doc__, dataset="the data set's key in `datasets`")
