"""Report whether dvc.lock is up to date, that is, whether the committed results were made with this
code and these parameters."""

from commands.reviewing.lock import outdated
from stages.runtime import cli
from stages.runtime.errors import UserError


def main() -> None:
    stages = outdated()
    if stages:
        names = ", ".join(map(str, stages))
        raise UserError(
            f"dvc.lock is out of date, or results are missing: {names}. `dvc repro` runs these, "
            "and what depends on them"
        )
    print("dvc.lock is up to date: the results belong to this code and these parameters")


if __name__ == "__main__":
    cli.run(main, __doc__)
