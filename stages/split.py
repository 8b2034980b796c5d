"""Stage split: which images train, on which ones every choice is made (validation), and which ones
test.

Reads ``data/raw/NAME/``; writes ``data/split/``: ``train.npy``, ``validation.npy``, ``test.npy``,
sorted indices (int64) into the raw images, and ``split.json``: how the parts were made, the images
of each class in each part, and the images that occur more than once. Two parts are the same images
where the parameters ask for it; ``validation_is_test`` and ``validation_is_training`` then say so,
in split.json and in the reports. Takes a second.
"""

from pathlib import Path

from stages import params
from stages.preparation import splitting
from stages.runtime import cli
from stages.sources.raw import Raw


def main() -> None:
    options = params.load()
    raw = Raw(Path("data/raw") / options.dataset)
    splitting.write(raw, options.split, options.seed, Path("data/split"))


if __name__ == "__main__":
    cli.run(main, __doc__)
