"""Run the comparisons, several at a time, in a temporary folder."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from commands.pipeline import sources
from commands.rechecking import sides
from commands.rechecking.sides import Outcome
from commands.rechecking.stale import Training
from stages.params import Params
from stages.params.schema import Recheck
from stages.runtime.errors import UserError
from stages.runtime.text import first_line
from stages.storage import files


@contextlib.contextmanager
def compare_all(
    pairs: Sequence[tuple[Training, str]],
    everything: Sequence[Training],
    options: Params,
    workers: int,
) -> Iterator[Iterator[tuple[Training, str, Outcome]]]:
    """Compare the code of the working tree with that of a revision, for each pair of a training and
    a revision, `workers` at a time. Yields an iterator over the outcomes as they are reached. The
    end of the block stops what still runs, and removes all copies."""
    with tempfile.TemporaryDirectory(prefix="recheck-", ignore_cleanup_errors=True) as temporary:
        root = Path(temporary)
        new = sides.copy_working_tree(root / "present", sources.find_untracked(options))
        for revision in {revision for _, revision in pairs}:
            sides.copy_revision(revision, root / revision)
        pool, stop, jobs = ThreadPoolExecutor(workers), threading.Event(), {}
        try:
            for number, (training, revision) in enumerate(pairs):
                chain, old = training.find_predecessors(everything), root / revision
                folder = root / str(number)
                given = (training, chain, old, new, options.recheck, folder, stop)
                jobs[pool.submit(compare_one, *given)] = training, revision
            yield ((*jobs[job], job.result()) for job in as_completed(jobs))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def compare_one(
    training: Training,
    chain: Sequence[Training],
    old: Path,
    new: Path,
    options: Recheck,
    folder: Path,
    stop: threading.Event,
) -> Outcome:
    """The outcome of `sides.compare_codes`; what fails is a difference. Removes `folder`. Raises
    `UserError` if the system refuses this process something, such as room for the copies."""
    try:
        return sides.compare_codes(training, chain, old, new, options, folder, stop)
    except UserError as error:
        return Outcome([str(error)])
    except OSError as error:
        raise UserError(
            f"{training.address} could not be compared in {folder}: {first_line(error)}.\n"
            "       What to do: free space there, or set TMPDIR to a folder on a disk with room"
        ) from None
    finally:
        files.remove(folder)
