"""Stage weights: bring the pre-trained weights that models start from into the project, checked.

Reads ``architectures.NAME.weights`` of each of ``models``; writes ``data/weights/NAME/``:

    source.json      of a model with pre-trained weights: weights (the parameter), source (address
                     or path), licence, bytes, sha256; of the others an empty object
    weights.h5       the file itself

Published files are fetched into data/downloads/weights/ first. What an earlier run brought is taken
again where it is the same published file, or where the path leads to no file here: a colleague who
has pulled needs neither. Takes a second after the transfer.
"""

from pathlib import Path

from stages import params
from stages.runtime import cli
from stages.sources import pretrained
from stages.storage import files

TARGET = Path("data/weights")


def main() -> None:
    options = params.load()
    with files.replacing(TARGET) as folder:
        for model in options.models:
            pretrained.write(
                folder / model,
                model,
                options.architectures[model],
                options.download,
                kept=TARGET / model,
            )


if __name__ == "__main__":
    cli.run(main, __doc__)
