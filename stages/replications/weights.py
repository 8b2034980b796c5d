"""Stage weights of the replications: store the pre-trained weights that experiments start from.

Reads ``architectures.NAME.weights`` of the root's ``params.yaml``; writes
``replications/weights/NAME/``, which the stage weights of the root describes.
"""

from stages import params
from stages.replications.options import FOLDER
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.sources import pretrained
from stages.storage import files


def main(architecture: str) -> None:
    options = params.load()
    chosen = options.architectures.get(architecture)
    if not (chosen and chosen.pretrained):
        raise UserError(f"params.yaml: architectures has no {architecture!r} with weights")
    target = FOLDER / "weights" / architecture
    with files.replacing(target) as folder:
        pretrained.write(
            folder,
            architecture,
            chosen,
            options.download,
            kept=target,
        )


if __name__ == "__main__":
    cli.run(main, __doc__, architecture="an architecture with pre-trained weights")
