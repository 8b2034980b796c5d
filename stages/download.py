"""Stage download: check a data set, and store it in the project's own layout.

Reads what ``datasets.NAME.source`` points to; writes ``data/raw/NAME/``, which `stages.sources.raw`
describes. The source is one of

    data/official/NAME.yaml      the publisher's addresses and digests; the files are first
                                 downloaded into data/downloads/NAME/
    an official file             recognised by its name (for Fashion-MNIST, a folder with its four
                                 files), and checked in the same way
    an .npz file                 with the arrays of keras.datasets, with or without test arrays
    a folder, .zip or .tar(.gz)  with one folder of images per class, which may lie below train/,
                                 val/ and test/

After the download it takes a second for the sample, 8 seconds for CIFAR-10, 2 for 4,317 photographs
of 128 pixels. Memory holds a few images (or a thousand small ones) at a time, and all names: 1 KB
per image of a zip (0.6 of it zipfile's own), less for other sources.
"""

from pathlib import Path

from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.sources import dataset as datasets
from stages.storage import files


def main(dataset: str) -> None:
    description = datasets.import_and_report(dataset, Path("data/raw"))
    recorded = Path("data/sources") / f"{dataset}.json"
    if description["official"] or not recorded.exists():
        return
    if files.read_json(recorded)["sha256"] != description["source_digest"]:
        raise UserError(
            f"{description['source']} changed while the pipeline ran: its digest is not that in "
            f"{recorded}. Run `dvc repro` again"
        )


if __name__ == "__main__":
    cli.run(main, __doc__, dataset="the data set's key in `datasets`")
