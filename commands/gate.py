"""Check a change against the rules under ``gate`` in ``params.yaml``. If any check fails, it is
named, and the exit status is 1.

Makes the same comparison as ``commands.review``, and checks:

    base            the revision to compare with is in this clone
    dvc.lock        up to date: the results exist and belong to this code; and none of the compared
                    files is damaged
    selected model  its test accuracy fell by no more than the allowed multiple of the noise
    calibration     its calibration error is within the limit
    int8            if it was exported in 8-bit integers, these cost no more test accuracy than
                    allowed
    replications    published figures that were reproduced before still are

A check that has nothing to judge is reported as *not checked*, and does not fail. Takes about 7
seconds.
"""

from commands.reviewing import gate, history, revisions, yardstick
from stages import params
from stages.runtime import cli
from stages.runtime.errors import UserError


def main(base: str) -> None:
    cli.exit_on_signals()
    cli.require_project()
    options = params.load()
    head, dirty = history.read_working_tree()
    comparison = history.find_base(base, head, bool(dirty))
    before = comparison.revision
    seed_spread, source = yardstick.choose_spread(before, head)
    checks = gate.run_checks(comparison, head, options.gate, seed_spread)
    for note in [
        *filter(None, [comparison.note]),
        *revisions.list_damages(before),
        *(yardstick.list_notes(seed_spread, source, before, head) if before else ()),
    ]:
        print(note)
    print("\n".join(map(str, checks)))
    failed = [check.name for check in checks if check.passed is False]
    if failed:
        raise UserError(f"the gate is closed: {', '.join(failed)}")


if __name__ == "__main__":
    cli.run(main, __doc__, history.add_base_option)
