"""Stage data of the replications: split and preprocess one variant of a data set as a document did.

Reads ``replications/raw/DATASET/``; writes ``replications/data/VARIANT/`` with ``split/`` and
``prepared/``, which the stages split and preprocess describe. The variant's name is a key of
``variants`` in ``replications/params.yaml``.
"""

from stages import params
from stages.preparation import parts, preprocessing
from stages.replications import options
from stages.runtime import cli
from stages.sources.raw import Raw
from stages.storage import files


def main(variant: str) -> None:
    _, replications = options.load()
    chosen = params.choose(variant, replications.variants, "variants", options.FILE)
    seed = replications.common.seed if chosen.seed is None else chosen.seed
    raw = Raw(options.FOLDER / "raw" / chosen.dataset)
    with files.replacing(options.FOLDER / "data" / variant) as folder:
        parts.write(raw, chosen.split, seed, folder / "split")
        preprocessing.write(raw, chosen.preprocess, folder / "split", folder / "prepared")


if __name__ == "__main__":
    cli.run(main, __doc__, variant="the variant's key in `variants`")
