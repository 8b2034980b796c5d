"""The gate: whether a change keeps what ``gate`` in ``params.yaml`` asks for. Exit status 1, and
the names of what failed, if not.

It compares as ``commands.review`` does, and checks that

    base            is here to compare with
    dvc.lock        is up to date: the results belong to this code, and are there; and nothing that
                    is compared is damaged
    selected model  is not less accurate on the test part than the one selected before, by so many
    times the noise
    calibration     error of the selected model is below its bound
    replications    of the documents' figures that held before still hold

Takes about 7 seconds.
"""

import argparse
import sys

from commands.reviewing import comparing, gate, history
from stages import params
from stages.runtime import cli


def main(base: str) -> None:
    options = params.load()
    head, dirty = history.read_working_tree()
    before, why, lost = None, "", None
    try:
        before, why = history.find_base(base, head, bool(dirty))
    except history.NotFound as error:
        lost = error
    if why:
        print(why)
    content = comparing.spread_file(before, head)
    results = gate.checks(before, head, options.gate, content, lost)
    for note in [
        *comparing.damages(before),
        *(comparing.notes(content, before, head) if before else ()),
    ]:
        print(note)
    print("\n".join(map(str, results)))
    failed = [one.name for one in results if one.passed is False]
    if failed:
        sys.exit(f"error: the gate is closed: {', '.join(failed)}")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        default="main",
        help="the branch or revision to compare with (default: %(default)s)",
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
