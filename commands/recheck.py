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
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from commands.parallel.options import add_workers_option, choose_workers
from commands.pipeline import digests, lockfile, repository, sources
from commands.rechecking import budget, records, sides, stale
from commands.rechecking.sides import Verdict
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
    trainings = [
        training for path in PIPELINES[pipeline] for training in stale.find_trainings(path)
    ]
    chosen = choose(trainings, names)
    left, candidates = sort_out(chosen, trainings, dry)
    revisions = stale.find_revisions(candidates)
    for training in candidates:
        if training.address not in revisions:
            left[training.address] = describe_no_revision()
    candidates = [training for training in candidates if training.address in revisions]
    for address, why in left.items():
        print(f"left: {address}: {why}", flush=True)
    if not candidates:
        print(
            "nothing could be rechecked: see above"
            if left
            else "nothing to recheck: no training is out of date by its code alone"
        )
        return
    count = choose_workers(workers, options)
    failed, verdicts = 0, compare_all(candidates, trainings, revisions, options, count)
    for training, verdict in progress.track(verdicts, "recheck", "trainings", len(candidates)):
        address, revision = training.address, revisions[training.address]
        if verdict.differences:
            failed += 1
            listed = "\n  ".join(verdict.differences)
            progress.say(f"not equal: {address}, from {revision[:7]}:\n  {listed}")
            continue
        outcome = f"{verdict.steps} steps equal to those of {revision[:7]}"
        if not dry:
            if digest_code() != code:
                raise UserError("the code changed during the comparison: start again")
            carry_over(training)
            records.note_carried_over(training, revision, verdict.steps)
            outcome = f"carried over from {revision[:7]}, {verdict.steps} steps equal"
        progress.say(f"equal: {address}: {outcome}{describe_notes(verdict)}")
    if failed:
        raise UserError(
            f"{failed} of {len(candidates)} trainings could not be shown to compute the same bits "
            "with the present code: `dvc repro` trains them again"
        )


def carry_over(training: Training) -> None:
    """Update the training's entry in the lock file, and the provenance of the spread over seeds if
    that matched the previous lock file. Raises `UserError`, and changes neither, if the spread is
    damaged or the entry cannot be updated."""
    before, seed_spread = lockfile.read(LOCK), spread.read()
    stale.carry_over(training)
    if seed_spread:
        spread.carry_over(seed_spread, before, lockfile.read(LOCK))


def choose(trainings: Sequence[Training], names: Sequence[str]) -> list[Training]:
    """The trainings with these names, each a key, stage or address; without names, all. Raises
    `UserError` for an unknown name."""

    def list_names(training: Training) -> set[str]:
        return {training.key, training.name, training.address}

    known = {name for training in trainings for name in list_names(training)}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{unknown[0]!r} is not a training of the pipeline: see `dvc stage list`")
    return [training for training in trainings if not names or list_names(training) & set(names)]


def sort_out(
    trainings: Sequence[Training], everything: Sequence[Training], dry: bool
) -> tuple[dict[str, str], list[Training]]:
    """Why recheck leaves some trainings alone, by address; and the trainings that are out of date
    by code alone. Trainings that never ran, or are up to date, are in neither."""
    left, candidates = {}, []
    # outputs of other trainings need not be here: the short experiment makes them
    outs = {out for training in everything for out in training.outs}
    for training in trainings:
        differs = any(not change.on_disk for change in training.changes)
        if training.entry is None or not (differs or training.other_changes or training.new_outs):
            continue
        missing = sorted({*training.missing} - outs)
        changed_predecessors = [
            predecessor.address
            for predecessor in training.predecessors(everything)
            if predecessor.entry is None or predecessor.other_changes
        ]
        reason = None
        if training.new_outs and not dry:
            reason = (
                f"{', '.join(training.new_outs)} is a new output, which only a training makes; "
                "--dry still compares the rest"
            )
        elif training.other_changes:
            reason = f"not only code differs: {', '.join(training.other_changes)}"
        elif changed_predecessors:
            reason = f"it starts from {changed_predecessors[0]}, in which not only code differs"
        elif training.differing_on_disk:
            reason = (
                f"{', '.join(training.differing_on_disk)} is not what the lock files say: `dvc "
                "checkout` may restore it"
            )
        elif other_platform := records.find_other_platform(training):
            reason = other_platform
        elif missing:
            reason = f"missing here: {', '.join(missing)}: `dvc checkout` or `dvc repro` brings it"
        if reason:
            left[training.address] = reason
        else:
            candidates.append(training)
    return left, candidates


def describe_no_revision() -> str:
    """Why a training is left whose results no commit explains."""
    hint = ""
    if repository.is_shallow():
        hint = "; this clone is shallow and lacks older commits: `git fetch --unshallow` gets them"
    return f"no commit holds its lock file entry together with the code that the entry names{hint}"


def compare_all(
    candidates: Sequence[Training],
    trainings: Sequence[Training],
    revisions: dict[str, str],
    options: params.Params,
    workers: int,
) -> Iterator[tuple[Training, Verdict]]:
    """Compare the candidates, `workers` at a time, and yield each verdict as it is reached."""
    with tempfile.TemporaryDirectory(prefix="recheck-", ignore_cleanup_errors=True) as temporary:
        root = Path(temporary)
        untracked = sources.find_untracked(options)
        new = sides.copy_working_tree(root / "present", untracked)
        for revision in set(revisions.values()):
            sides.copy_revision(revision, root / revision)

        def compare_training(number: int, training: Training) -> Verdict:
            folder = root / str(number)
            chain = training.predecessors(trainings)
            try:
                old = root / revisions[training.address]
                return sides.compare_codes(training, chain, old, new, options.recheck, folder, stop)
            except UserError as error:
                return Verdict([str(error)])
            finally:
                files.remove(folder)

        pool, stop = ThreadPoolExecutor(workers), threading.Event()
        try:
            jobs = {
                pool.submit(compare_training, number, training): training
                for number, training in enumerate(candidates)
            }
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def describe_notes(verdict: Verdict) -> str:
    """Caveats of an equal verdict, each on a line of its own."""
    notes = []
    if not verdict.resumed:
        notes.append("it ended before it could be interrupted, so resuming was not tested")
    if verdict.additions:
        notes.append(
            f"the present code also writes {', '.join(verdict.additions)}, which these results "
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
