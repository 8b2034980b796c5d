"""Stage split: choose the images for training, for validation (on which every choice is made), and
for testing.

Reads ``data/raw/NAME/``; writes into ``data/split/``:

    train.npy, validation.npy, test.npy   int64 (images,), sorted indices into the raw images
    split.json                            how the parts were made, the number of images of each
                                          class in each part, and duplicate images
    parameters.json                       the parameters that it was made with

If the parameters make two parts share their images, ``validation_is_test`` or
``validation_is_training`` says so in split.json, and the reports warn of it. Takes a second.
"""

from pathlib import Path

from stages import params
from stages.preparation import parts
from stages.runtime import cli, inputs
from stages.sources.raw import Raw
from stages.storage import files


def main() -> None:
    options = params.load()
    raw = Raw(Path("data/raw") / options.dataset)
    with files.replacing(inputs.SPLIT) as folder:
        parts.write(raw, options.split, options.seed, folder)
        files.write_json(
            folder / inputs.SPLIT_PARAMETERS.name, inputs.select_split_parameters(options)
        )


if __name__ == "__main__":
    cli.run(main, __doc__)
