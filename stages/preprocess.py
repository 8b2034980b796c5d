"""Stage preprocess: the images of each part as arrays that training reads by memory map.

Reads ``data/raw/NAME/`` and ``data/split/``; writes into ``data/prepared/``:

    PART.npy         uint8 (images, height, width, channels), for each of train, validation, test
    PART_labels.npy  int64 (images,)
    data.json        class names, image shape, the section ``preprocess`` and the channels before
                     it, the constants of the normalisation, whether parts are the same images, and
                     a digest of each array

Pixels stay 0..255 on disk: the model itself normalises them. Takes a second for the sample, 6 for
4,000 photographs.
"""

from pathlib import Path

from stages import params
from stages.preparation import arrays
from stages.runtime import cli, inputs
from stages.sources.raw import Raw


def main() -> None:
    options = params.load()
    inputs.check_split(options)
    raw = Raw(Path("data/raw") / options.dataset)
    arrays.write(raw, options.preprocess, Path("data/split"), Path("data/prepared"))


if __name__ == "__main__":
    cli.run(main, __doc__)
