"""Show that changed code still computes the same bits, and update dvc.lock without training, for
trainings that are out of date by their code alone.

Runs a short experiment twice for each such training, on this machine, in temporary folders: with
the code of the revision that produced its results, and with the code of the working tree. It uses
the training's own data and recipe, cut down to the budget under ``recheck`` in ``params.yaml``.
Learning rate schedule, augmentation, dropout, a smaller last batch and early stopping take part;
the present code is also interrupted and resumed from its checkpoint. Then every weight, state of a
random generator and prediction, the history and the kept epoch are compared. The verdict:

    equal      the lock entry is updated, as by ``dvc commit``, and the run record says *carried
               over from REVISION*; the provenance in ``reports/seed_spread.json`` is updated too;
               ``--dry`` only compares
    not equal  names the array or column, how many values differ, and the first; or what failed.
               Nothing is changed for this training, and the exit status is 1
    left       data or parameters differ too, data are missing here, a GPU or another backend
               computed the results or no record says what did, or no commit holds the lock entry
               together with its code

A difference that shows only after more batches or epochs goes undetected. Takes about 30 seconds of
CPU time per training; large networks take longer.
"""

import argparse
import hashlib
from pathlib import Path

from commands.parallel.options import add_workers_option, choose_workers
from commands.pipeline import digests, lockfile
from commands.rechecking import budget, choosing, records, running, stale
from commands.rechecking.sides import Outcome
from commands.rechecking.stale import Training
from commands.reviewing import spread
from stages import params
from stages.runtime import cli, progress
from stages.runtime.errors import UserError
from stages.storage import files

LOCK = Path("dvc.lock")
PIPELINES = {
    "root": (budget.ROOT,),
    "replications": (budget.REPLICATIONS,),
    "both": (budget.ROOT, budget.REPLICATIONS),
}


def main(names: list[str], pipeline: str, dry: bool, workers: int | None) -> None:
    cli.exit_on_signals()
    cli.require_project()
    options = params.load()
    if not dry:
        spread.read()  # refuse a damaged one before anything is compared or written
    code = digest_code()
    digests.refresh()
    everything = [
        training for path in PIPELINES[pipeline] for training in stale.find_trainings(path)
    ]
    chosen = choosing.choose(everything, names)
    pairs, left = choosing.pair_with_revisions(chosen, everything, dry)
    for address, why in left.items():
        print(f"left: {address}: {why}", flush=True)
    if not pairs:
        print(
            "nothing could be rechecked: see above"
            if left
            else "nothing to recheck: no training is out of date by its code alone"
        )
        return
    failed, count = 0, choose_workers(workers, options)
    with running.compare_all(pairs, everything, options, count) as outcomes:
        for training, revision, outcome in progress.track(
            outcomes, "recheck", "trainings", len(pairs)
        ):
            if not dry and digest_code() != code:
                raise UserError("the code changed during the comparison: start again")
            progress.say(settle(training, revision, outcome, dry))
            failed += bool(outcome.differences)
    if failed:
        raise UserError(
            f"{failed} of {len(pairs)} trainings could not be shown to compute the same bits with "
            "the present code: `dvc repro` trains them again"
        )


def settle(training: Training, revision: str, outcome: Outcome, dry: bool) -> str:
    """Carry the results of a training over from `revision` if the outcome is equal, unless `dry`.
    Returns the outcome in words. Raises `UserError`, as `carry_over` does."""
    if outcome.differences:
        listed = "\n  ".join(outcome.differences)
        return f"not equal: {training.address}, from {revision[:7]}:\n  {listed}"
    if dry:
        words = f"{outcome.steps} steps equal to those of {revision[:7]}"
    else:
        carry_over(training)
        records.note_carried_over(training, revision, outcome.steps)
        words = f"carried over from {revision[:7]}, {outcome.steps} steps equal"
    return f"equal: {training.address}: {words}{describe_notes(outcome)}"


def carry_over(training: Training) -> None:
    """Update the training's entry in the lock file, and the provenance of the spread over seeds if
    that matched the previous lock file. Raises `UserError`, and changes neither, if the spread is
    damaged or the entry cannot be updated."""
    before, seed_spread = lockfile.read(LOCK), spread.read()
    stale.carry_over(training)
    if seed_spread:
        spread.carry_over(seed_spread, before, lockfile.read(LOCK))


def describe_notes(outcome: Outcome) -> str:
    """Caveats of an equal outcome, each on a line of its own."""
    notes = []
    if not outcome.resumed:
        notes.append("it ended before it could be interrupted, so resuming was not tested")
    if outcome.additions:
        notes.append(
            f"the present code also writes {', '.join(outcome.additions)}, which these results "
            "lack until the model is trained again"
        )
    return "".join(f"\n  {note}" for note in notes)


def digest_code() -> str:
    """A digest of all code under ``stages/`` in the working tree."""
    paths = sorted(Path("stages").rglob("*.py"))
    return hashlib.sha256(
        "".join(f"{path} {files.sha256(path)}\n" for path in paths).encode()
    ).hexdigest()


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        help="trainings, as keys or as stages such as train@mnist-dense (default: all)",
    )
    parser.add_argument(
        "--pipeline",
        choices=PIPELINES,
        default="root",
        help="whose trainings: dvc.yaml's, replications/dvc.yaml's, or both (default: %(default)s)",
    )
    parser.add_argument(
        "--dry",
        action="store_true",
        help="only compare, carry nothing over; reports/code/ and its entry in dvc.lock are still "
        "updated",
    )
    add_workers_option(parser, "trainings to compare in parallel")


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
