"""The short experiment: the code of a revision, or of the working tree, trains in a temporary
folder of its own by the stage's command, as DVC would start it. No code of another revision is
imported here."""

import shlex
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands.pipeline import sources
from commands.pipeline.process import environment
from commands.rechecking import budget, comparing
from commands.rechecking.stale import Training
from stages.params.reading import read_yaml
from stages.params.schema import Recheck
from stages.runtime import git
from stages.runtime.errors import UserError
from stages.storage import files

# what no training reads, and would only be copied
UNREAD = ("reports", "benchmarks", "tests", "docs", "replications/results", "replications/curves")
PATHS = sources.exclude([*UNREAD, "data/embedded"])
CHECKPOINTS = {  # of the present code
    budget.ROOT: "models/{name}/checkpoint.npz",
    budget.REPLICATIONS: "replications/checkpoints/{name}/*.npz",
}


@dataclass(frozen=True)
class Verdict:
    """What the comparison of a training says: it has `differences`, or is equal in `steps`, with
    `additions` that only the present code writes; `resumed` where it was stopped on the way."""

    differences: list[str]
    steps: int = 0
    additions: tuple[str, ...] = ()
    resumed: bool = False


def copy_revision(revision: str, target: Path) -> None:
    """Copy the files of a revision that a training may read."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        git.run("archive", f"--output={file.name}", revision, "--", *PATHS)
        with tarfile.open(file.name) as archive:
            # which Python has from 3.11.4 on; the archive is git's
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            archive.extractall(target)


def copy_working_tree(target: Path, without: Iterable[str]) -> Path:
    """Copy the files of the working tree that a training may read, with those not committed yet;
    not what lies at the paths `without`. Returns `target`."""
    paths = [*PATHS, *sources.exclude(without)]
    listed = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    for name in filter(None, listed.split("\0")):
        if Path(name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target / name)
    return target


def compare_codes(
    training: Training,
    chain: Sequence[Training],
    old_code: Path,
    new_code: Path,
    options: Recheck,
    folder: Path,
    stop: threading.Event,
) -> Verdict:
    """Run the short experiment with both codes, in the empty `folder`, and compare what they
    computed. `chain` are the trainings that this one goes on from. Raises `UserError` once it is to
    `stop`.

    The present code is stopped after an epoch and goes on from its checkpoint; the old one is not.
    """
    old, new = folder / "old", folder / "new"
    cut = prepare_side(training, chain, old_code, old, options)
    prepare_side(training, chain, new_code, new, options)
    for one in chain:
        run(one.entry["cmd"], old, stop)
        run(one.command, new, stop)
    run(training.entry["cmd"], old, stop)
    checkpoint = CHECKPOINTS[training.pipeline].format(name=training.key)
    resumed = interrupt(training.command, new, checkpoint, stop)
    run(training.command, new, stop)
    results = [
        comparing.collect_files(old, tuple(out["path"] for out in training.entry["outs"])),
        comparing.collect_files(new, training.outs),
    ]
    if found := comparing.compare(*results):
        return Verdict(found)
    epochs = count_epochs(results[0])
    if cut.patience is not None and epochs == cut.epochs:
        return Verdict([f"early stopping did not act in {epochs} epochs: nothing is shown of it"])
    additions = tuple(comparing.find_additions(*results))
    return Verdict([], epochs * cut.steps, additions, resumed)


def prepare_side(
    training: Training, chain: Sequence[Training], code: Path, folder: Path, options: Recheck
) -> budget.Cut:
    """Copy `code` into `folder`, with parameters and data cut down; both sides get the same.
    Returns the cut of `training`."""
    shutil.copytree(code, folder)
    pipeline, cut = training.pipeline, None
    trained = {out for one in chain for out in one.outs}
    seed = find_first_seed(folder, training)
    for one in (*chain, training):
        recipe = budget.read_recipe(folder, pipeline, one.key)
        for path in filter(lambda path: str(path) not in trained, one.data):
            for prepared in (path, path / "prepared"):
                if (prepared / "data.json").exists():
                    shape = files.read_json(prepared / "data.json")["image_shape"]
                    cut = budget.plan_cut(recipe, shape, options)
                    monitor = recipe["early_stopping"]["monitor"]
                    spare = int(pipeline == budget.REPLICATIONS)
                    files.remove(folder / prepared)
                    budget.cut_data(prepared, folder / prepared, cut, monitor, spare)
                    break
            else:
                copy(path, folder / path)
        if cut is None:
            raise UserError(f"{one.address}: none of its dependencies holds prepared data")
        budget.cut_params(folder, pipeline, one.key, cut, seed)
    return cut


def find_first_seed(folder: Path, training: Training) -> int | None:
    """The seed that a replication trains with here; None of a model, which has one alone."""
    if training.pipeline == budget.ROOT:
        return None
    _, content = read_yaml(folder / budget.PARAMS[training.pipeline])
    return content["experiments"][training.key]["seeds"][0]


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def start(command: str, folder: Path, output: int) -> subprocess.Popen:
    """A stage's command in `folder`, with the Python that runs this."""
    variables = environment()
    variables.pop("PYTHONPATH", None)  # it may lead to the code of the working tree
    return subprocess.Popen(
        shlex.split(command), cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT
    )


def run(command: str, folder: Path, stop: threading.Event) -> None:
    """Run a command to its end. Raises `UserError` with its last lines where it fails."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        status = wait(start(command, folder, output.fileno()), stop)
        if status:
            output.seek(0)
            last = "\n         ".join(output.read().splitlines()[-8:])
            side = "old" if folder.name == "old" else "present"
            raise UserError(
                f"the {side} code's `{command}` ended with exit status {status}:\n         {last}"
            )


def interrupt(command: str, folder: Path, checkpoint: str, stop: threading.Event) -> bool:
    """Start a training and kill it as soon as it has written its first checkpoint. Returns whether
    that came about, and the checkpoint is there to go on from."""

    def written() -> bool:
        return any(folder.glob(checkpoint))

    wait(start(command, folder, subprocess.DEVNULL), stop, written)
    return written()


def wait(
    process: subprocess.Popen, stop: threading.Event, enough: Callable[[], bool] = lambda: False
) -> int:
    """The exit status of a process, which is killed as soon as there is `enough` of it. Raises
    `UserError` once it is to `stop`."""
    while process.poll() is None and not enough() and not stop.is_set():
        time.sleep(0.002)
    process.kill()
    status = process.wait()
    if stop.is_set():
        raise UserError("stopped")
    return status


def count_epochs(results: dict[str, Path]) -> int:
    """The epochs that were trained, by the history; of a single seed."""
    history = next(path for name, path in results.items() if name.endswith("history.csv"))
    return len(next(iter(comparing.read_table(history).values())))
