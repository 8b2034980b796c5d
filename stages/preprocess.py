"""Stage preprocess: write the images of each part as arrays that training reads by memory map.

Reads ``data/raw/NAME/`` and ``data/split/``; writes into ``data/prepared/``:

    PART.npy         uint8 (images, height, width, channels), for each of train, validation, test
    PART_labels.npy  int64 (images,)
    PART_names.txt   the names of the images' files inside the source, one per line; only if they
                     come from files
    data.json        class names, image shape, the section ``preprocess`` and the channels before
                     it, the normalisation's constants, whether two parts share their images, and a
                     digest of each of the files above

Pixels stay 0..255 on disk: the model itself normalises them. Takes a second for the sample, 6 for
4,000 photographs.
"""

from pathlib import Path

import numpy as np

from stages import params
from stages.preparation import preprocessing
from stages.runtime import cli, inputs
from stages.sources.raw import Raw
from stages.storage import files
from stages.storage.prepared import PARTS


def write_names(names: list[str], folder: Path) -> None:
    """Write each part's file names into `folder`, and their digests into its data.json. `names` are
    those of all images of the data set."""
    description = files.read_json(folder / "data.json")
    for part in PARTS:
        path = folder / f"{part}_names.txt"
        files.write_text(
            path, "".join(f"{names[place]}\n" for place in np.load(inputs.SPLIT / f"{part}.npy"))
        )
        description["sha256"][path.stem] = files.sha256(path)
    files.write_json(folder / "data.json", description)


def main() -> None:
    options = params.load()
    inputs.check_split(options)
    raw = Raw(Path("data/raw") / options.dataset)
    with files.replacing(Path("data/prepared")) as folder:
        preprocessing.write(raw, options.preprocess, inputs.SPLIT, folder)
        if raw.names is not None:
            write_names(raw.names, folder)


if __name__ == "__main__":
    cli.run(main, __doc__)
