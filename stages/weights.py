"""Stage weights: copy the pre-trained weights that models start from into the project, and check
them.

Reads ``architectures.NAME.weights`` of each of ``models``; writes ``data/weights/NAME/``:

    source.json      for a model with pre-trained weights: weights (the parameter), source (URL or
                     path), licence, bytes, sha256; for the others an empty object
    weights.h5       the file itself

Published files are downloaded into data/downloads/weights/ first. A copy from an earlier run is
reused if it is the same published file, or if there is no file at the path on this machine: a
colleague who ran `dvc pull` needs neither internet access nor that file. Takes a second after the
transfer.
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
