"""Stage split: which images are for training, for validation (every choice is made on these), and
for testing.

Reads ``data/raw/NAME/``; writes into ``data/split/``:

    train.npy, validation.npy, test.npy   int64 (images,), sorted indices into the raw images
    split.json                            how the parts were made, the number of images of each
                                          class in each part, and the images that occur repeatedly
    parameters.json                       the parameters that it follows

If the parameters make two parts the same images, ``validation_is_test`` or
``validation_is_training`` says so in split.json, and the reports warn of it. Takes a second.
"""

from pathlib import Path

from stages import params
from stages.preparation import splitting
from stages.runtime import cli, inputs
from stages.sources.raw import Raw
from stages.storage import files


def main() -> None:
    options = params.load()
    raw = Raw(Path("data/raw") / options.dataset)
    with files.replacing(inputs.SPLIT.parent) as folder:
        splitting.write(raw, options.split, options.seed, folder)
        files.write_json(folder / inputs.SPLIT.name, inputs.split_parameters(options))


if __name__ == "__main__":
    cli.run(main, __doc__)
