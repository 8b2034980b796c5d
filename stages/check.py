"""Stage check: refuse a missing data set or model, in plain words, before anything else runs.

Every stage checks all of ``params.yaml`` when it starts. But DVC reads a stage's dependencies
before it starts the stage, and reports only "no such file" if ``dataset`` or a ``source`` leads
nowhere. This stage runs first because it depends on none of them. Writes ``data/checked``, which
never changes.
"""

from pathlib import Path

from stages import params
from stages.runtime import cli
from stages.runtime.errors import UserError


def main() -> None:
    options = params.load()
    source = options.datasets[options.dataset].source
    if not Path(source).exists():
        raise UserError(
            f"params.yaml: datasets.{options.dataset}.source: nothing lies at {source!r}: give the "
            "path of a file or folder.\n"
            "       After a failed `dvc exp run -S` the value stands in params.yaml: correct it "
            "there, or give it anew by -S"
        )
    Path("data/checked").write_text(
        "params.yaml names a data set that is there\n", encoding="utf-8"
    )


if __name__ == "__main__":
    cli.run(main, __doc__)
