"""Check a change against the rules under ``gate`` in ``params.yaml``. If any fails, the exit status
is 1 and the failed ones are named.

Compares as ``commands.review`` does, and checks that

    base            exists, to compare with
    dvc.lock        is up to date: the results are there and belong to this code; and no file that
                    is compared is damaged
    selected model  its test accuracy did not fall by more than the allowed multiple of the noise
    calibration     the selected model's calibration error is below its bound
    int8            in 8-bit integers, if it was exported so, its test accuracy is not lower by more
                    than is allowed
    replications    published figures that were obtained before are still obtained

Takes about 7 seconds.
"""

import sys

from commands.reviewing import comparing, gate, history
from stages import params
from stages.runtime import cli


def main(base: str) -> None:
    cli.exit_on_sigterm()
    cli.require_project()
    options = params.load()
    head, dirty = history.read_working_tree()
    found = history.find_base(base, head, bool(dirty))
    before = found.revision
    if found.why and not found.lost:
        print(found.why)
    spread = comparing.choose_spread(before, head)
    results = gate.run_checks(found, head, options.gate, spread)
    for note in [
        *comparing.list_damages(before),
        *(comparing.list_notes(spread, before, head) if before else ()),
    ]:
        print(note)
    print("\n".join(map(str, results)))
    failed = [one.name for one in results if one.passed is False]
    if failed:
        sys.exit(f"error: the gate is closed: {', '.join(failed)}")


if __name__ == "__main__":
    cli.run(main, __doc__, history.add_base_option)
