"""Stage fingerprint: record which code each training runs, as digests.

Reads the modules of the training and of the families of ``architectures``; writes into
``reports/code/``:

    NAME.json            for each key of ``architectures``: ``training``, the digest of the code
                         that all trainings share, and ``family``, that of its family's own code
    replications.json    ``replications``: the digest of what the replications add to that

The training stages depend on these files instead of the modules, so that a comment or a new family
puts no training out of date. Works without TensorFlow, in a second.
"""

from pathlib import Path

from stages import params
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.storage import files
from stages.training import code

FOLDER = Path("reports/code")
REPLICATIONS = "replications"


def main() -> None:
    architectures = params.load().architectures
    if REPLICATIONS in architectures:
        raise UserError(
            f"params.yaml: architectures.{REPLICATIONS}: choose another name: "
            f"{FOLDER}/{REPLICATIONS}.json holds the digest of the replications' code"
        )
    families = {architecture.family for architecture in architectures.values()}
    digests = {family: code.fingerprint(family) for family in families}
    with files.replacing(FOLDER) as folder:
        for name, architecture in architectures.items():
            files.write_json(folder / f"{name}.json", digests[architecture.family])
        files.write_json(folder / f"{REPLICATIONS}.json", code.fingerprint_replications())
    print(f"{FOLDER}: the code of {len(families)} families")


if __name__ == "__main__":
    cli.run(main, __doc__)
