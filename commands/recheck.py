"""Where nothing but code changed since a training ran: show that the present code computes the same
bits, and bring dvc.lock up to date without training.

Each such training runs a short experiment twice, on this machine, in temporary folders: with the
code of the revision that its results were made with, and with the code of the working tree. The
data and the recipe are its own, cut down to what ``recheck`` in ``params.yaml`` says. Learning rate
schedule, augmentation, dropout, a smaller last batch and early stopping take part; the present code
is stopped on the way, and goes on from its checkpoint. Then every weight, every state of a random
generator, every prediction, the history and the epoch that was kept are compared. The verdict:

    equal      the lock entry is brought up to date, as ``dvc commit`` does, and the run record says
               *carried over from REVISION*; so is what ``reports/seed_spread.json`` was measured
               on; ``--dry`` only compares
    not equal  which array or column, how many values, and the first; or what failed. Nothing is
               changed for this training, and the exit status is 1
    left       data or parameters differ too, data are not here, a GPU or another backend
               computed the results, or no commit holds the lock entry together with its code

A difference that shows only after more batches or epochs goes undetected. Takes about 30 seconds of
CPU time a training; large networks take longer.
"""

import argparse
import hashlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

from commands.pipeline import lockfile, sources
from commands.rechecking import budget, sides, stale
from commands.rechecking.sides import Verdict
from commands.rechecking.stale import Training
from commands.reviewing import spread
from stages import params
from stages.runtime import cli, progress
from stages.runtime.errors import UserError
from stages.runtime.processor import count_cores
from stages.storage import files
from stages.training import backend

LOCK = Path("dvc.lock")
PIPELINES = {
    "root": (budget.ROOT,),
    "replications": (budget.REPLICATIONS,),
    "both": (budget.ROOT, budget.REPLICATIONS),
}


def main(names: list[str], pipeline: str, dry: bool, workers: int) -> None:
    cli.exit_on_sigterm()
    cli.require_project()
    options = params.load()
    code = digest_code()
    trainings = [one for path in PIPELINES[pipeline] for one in stale.find_trainings(path)]
    chosen = choose(trainings, names)
    left, candidates = sort_out(chosen, trainings, dry)
    revisions = stale.find_revisions(candidates)
    for one in candidates:
        if one.address not in revisions:
            left[one.address] = (
                "no commit holds its entry of the lock file together with the code that the entry "
                "names"
            )
    candidates = [one for one in candidates if one.address in revisions]
    for address, why in left.items():
        print(f"left: {address}: {why}", flush=True)
    if not candidates:
        print(
            "nothing could be rechecked: see above"
            if left
            else "nothing to recheck: no training is out of date by its code alone"
        )
        return
    failed, verdicts = 0, compare_all(candidates, trainings, revisions, options, workers)
    for one, verdict in progress.track(verdicts, "recheck", "trainings", len(candidates)):
        revision = revisions[one.address]
        if verdict.differences:
            failed += 1
            listed = "\n  ".join(verdict.differences)
            progress.say(f"not equal: {one.address}, from {revision[:7]}:\n  {listed}")
            continue
        said = f"{verdict.steps} steps equal to those of {revision[:7]}"
        if not dry:
            if digest_code() != code:
                raise UserError("the code changed while it was compared: start again")
            carry_over(one)
            record(one, revision, verdict.steps)
            said = f"carried over from {revision[:7]}, {verdict.steps} steps equal"
        progress.say(f"equal: {one.address}: {said}{describe(verdict)}")
    if failed:
        raise UserError(
            f"{failed} of {len(candidates)} trainings are not shown to compute the same bits with "
            "the present code: `dvc repro` trains them again"
        )


def carry_over(training: Training) -> None:
    """Bring the training's entry in the lock file up to date, and, where it belonged to the one
    before, the spread over seeds."""
    before = lockfile.read(LOCK)
    stale.carry_over(training)
    spread.carry_over(before, lockfile.read(LOCK))


def choose(trainings: Sequence[Training], names: Sequence[str]) -> list[Training]:
    """The trainings that are named by key, stage or address; all without names."""
    known = {name: one for one in trainings for name in (one.key, one.name, one.address)}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{unknown[0]!r} is no training of the pipeline: see `dvc stage list`")
    return [one for one in trainings if not names or {one.key, one.name, one.address} & set(names)]


def sort_out(
    trainings: Sequence[Training], everything: Sequence[Training], dry: bool
) -> tuple[dict[str, str], list[Training]]:
    """The trainings that recheck leaves alone, with the reason, by address; and those that are out
    of date by code alone. What never ran, or is up to date, is in neither."""
    left, candidates = {}, []
    outs = {out for one in everything for out in one.outs}  # those are trained here, cut down
    for one in trainings:
        differs = any(not change.on_disk for change in one.changes)
        if one.entry is None or not (differs or one.other_changes or one.new_outs):
            continue
        missing = sorted({*one.missing} - outs)
        unlike = [
            first.address
            for first in one.predecessors(everything)
            if first.entry is None or first.other_changes
        ]
        if one.new_outs and not dry:
            left[one.address] = (
                f"{', '.join(one.new_outs)} is a new output, which only a training makes; with "
                "--dry it is compared nevertheless"
            )
        elif one.other_changes:
            left[one.address] = f"not only code differs: {', '.join(one.other_changes)}"
        elif unlike:
            left[one.address] = f"it goes on from {unlike[0]}, of which not only code differs"
        elif one.elsewhere:
            left[one.address] = (
                f"{', '.join(one.elsewhere)} is not what the lock files say: `dvc checkout` may "
                "bring that"
            )
        elif elsewhere := find_other_platform(one):
            left[one.address] = elsewhere
        elif missing:
            left[one.address] = (
                f"{', '.join(missing)} is not here: `dvc checkout` or `dvc repro` brings it"
            )
        else:
            candidates.append(one)
    return left, candidates


def compare_all(
    candidates: Sequence[Training],
    trainings: Sequence[Training],
    revisions: dict[str, str],
    options: params.Params,
    workers: int,
) -> Iterator[tuple[Training, Verdict]]:
    """The verdict on each of the candidates, as they come, `workers` side by side."""
    with tempfile.TemporaryDirectory(prefix="recheck-", ignore_cleanup_errors=True) as temporary:
        place = Path(temporary)
        untracked = sources.find_untracked(options)
        present = sides.copy_working_tree(place / "present", untracked)
        for revision in set(revisions.values()):
            sides.copy_revision(revision, place / revision)

        def compare_one(number: int, one: Training) -> Verdict:
            folder = place / str(number)
            chain = one.predecessors(trainings)
            try:
                old = place / revisions[one.address]
                return sides.compare_codes(one, chain, old, present, options.recheck, folder, stop)
            except UserError as error:
                return Verdict([str(error)])
            finally:
                files.remove(folder)

        pool, stop = ThreadPoolExecutor(workers), threading.Event()
        try:
            jobs = {
                pool.submit(compare_one, number, one): one for number, one in enumerate(candidates)
            }
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def describe(verdict: Verdict) -> str:
    """What a reader must know of an equal training, behind the verdict."""
    notes = []
    if not verdict.resumed:
        notes.append("it ended before it could be stopped, so its checkpoint was not tried")
    if verdict.additions:
        notes.append(
            f"the present code also writes {', '.join(verdict.additions)}, which these results "
            "lack until they are trained again"
        )
    return "".join(f"\n  {note}" for note in notes)


def record(training: Training, revision: str, steps: int) -> None:
    """Note in the run record, which DVC does not track, where the results come from."""
    note = {
        "from": revision,
        "steps_equal": steps,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = find_record(training)
    content = files.read_json(path) if path.exists() else {}
    if training.pipeline == budget.ROOT:
        files.write_json(path, content | {"carried_over": note})
    elif path.exists():
        files.write_json(
            path, {seed: one | {"carried_over": note} for seed, one in content.items()}
        )


def find_record(training: Training) -> Path:
    """The run record of a training; of a replication, it holds one for each seed."""
    if training.pipeline == budget.ROOT:
        return Path("models") / training.key / "run.json"
    return Path("replications/runs") / f"{training.key}.json"


def find_other_platform(training: Training) -> str | None:
    """Why a comparison on this machine's processor with the present backend says nothing of the
    results of a training; None where it does, as far as its run record tells."""
    path = find_record(training)
    content = files.read_json(path) if path.exists() else {}
    records = [content] if training.pipeline == budget.ROOT else [*content.values()]
    devices = {name for one in records for name in one.get("hardware", {}).get("devices", [])}
    if any(not name.startswith("cpu") for name in devices):
        return "its results were computed on a GPU, which does not give the same bits twice"
    present = backend.choose_backend()
    used = {name for one in records for name in one.get("versions", {})} & {*backend.BACKENDS}
    for other in used - {present}:
        return (
            f"its results were computed with {other}, and {present} would be compared: set "
            f"KERAS_BACKEND={other}"
        )
    return None


def digest_code() -> str:
    """A digest of all code of stages in the working tree."""
    paths = sorted(Path("stages").rglob("*.py"))
    return hashlib.sha256(
        "".join(f"{path} {files.sha256(path)}\n" for path in paths).encode()
    ).hexdigest()


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        help="trainings: keys, or stages such as train@mnist-dense (default: all)",
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
        help="compare, and carry nothing over; only reports/code/ is brought up to date, with its "
        "entry in dvc.lock",
    )
    parser.add_argument(
        "--workers",
        type=cli.number(int, 1),
        default=count_cores(),
        help="trainings side by side (default: one a core, %(default)s)",
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
