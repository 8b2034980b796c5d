"""Report whether dvc.lock is up to date, that is, whether the committed results were produced by
this code with these parameters."""

from commands.pipeline.outdated import find_outdated, give_recheck_hint
from stages.runtime import cli
from stages.runtime.errors import UserError


def main() -> None:
    cli.require_project()
    stages = find_outdated()
    if stages:
        names, hint = ", ".join(map(str, stages)), give_recheck_hint(stages)
        raise UserError(
            f"dvc.lock is out of date, or results are missing: {names}. `dvc repro` runs these "
            f"stages and those that depend on them{hint and '. '}{hint}"
        )
    print("dvc.lock is up to date: the results belong to this code and these parameters")


if __name__ == "__main__":
    cli.run(main, __doc__)
