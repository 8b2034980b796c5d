"""The short experiment: the code of a revision or of the working tree trains in a separate
temporary folder, by the stage's command, as DVC would start it. No code of another revision is
imported into this process."""

import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands.pipeline import sources
from commands.rechecking import budget, comparing, processes
from commands.rechecking.stale import Training
from stages.params.reading import read_yaml
from stages.params.schema import Recheck
from stages.runtime import git
from stages.runtime.errors import UserError
from stages.storage import files

# not read by any training, so not copied
UNREAD = ("reports", "benchmarks", "tests", "docs", "replications/results", "replications/curves")
PATHS = sources.exclude([*UNREAD, "data/embedded"])
CHECKPOINTS = {  # glob patterns, of the present code
    budget.ROOT: "models/{name}/checkpoint.npz",
    budget.REPLICATIONS: "replications/checkpoints/{name}/*.npz",
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a comparison: `differences`, or equality in `steps` batches, with `additions`
    that only the present code writes; `resumed`: whether it was interrupted and resumed."""

    differences: list[str]
    steps: int = 0
    additions: tuple[str, ...] = ()
    resumed: bool = False


def copy_revision(revision: str, target: Path) -> None:
    """Copy the files of a revision that a training may read to `target`."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        git.run("archive", f"--output={file.name}", revision, "--", *PATHS)
        with tarfile.open(file.name) as archive:
            # available from Python 3.11.4 on; git's own archive is safe without it
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            archive.extractall(target)


def copy_working_tree(target: Path, without: Iterable[str]) -> Path:
    """Copy the files of the working tree that a training may read to `target`, including
    uncommitted ones, but not those at the paths `without`. Returns `target`."""
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
) -> Outcome:
    """Run the short experiment with both codes in the empty `folder`, and compare the results.
    `chain`: the trainings that this one starts from. Raises `UserError` if a training fails, or
    once `stop` is set.

    Only the present code is interrupted after an epoch and resumed from its checkpoint.
    """
    old, new = folder / "old", folder / "new"
    cut = prepare_side(training, chain, old_code, old, options)
    prepare_side(training, chain, new_code, new, options)
    for predecessor in chain:
        processes.run(predecessor.entry["cmd"], old, "old", stop)
        processes.run(predecessor.command, new, "present", stop)
    processes.run(training.entry["cmd"], old, "old", stop)
    checkpoint = CHECKPOINTS[training.pipeline].format(name=training.key)
    resumed = processes.interrupt(training.command, new, checkpoint, stop)
    processes.run(training.command, new, "present", stop)
    old_files = comparing.collect_files(old, [out["path"] for out in training.entry["outs"]])
    new_files = comparing.collect_files(new, training.outs)
    if differences := comparing.compare(old_files, new_files):
        return Outcome(differences)
    epochs = count_epochs(old_files)
    if cut.patience is not None and epochs == cut.epochs:
        return Outcome([f"early stopping did not act in {epochs} epochs, so it was not compared"])
    additions = tuple(comparing.find_additions(old_files, new_files))
    return Outcome([], epochs * cut.steps, additions, resumed)


def prepare_side(
    training: Training, chain: Sequence[Training], code: Path, folder: Path, options: Recheck
) -> budget.Cut:
    """Copy `code` to `folder`, with parameters and data cut down, the same for both sides. Returns
    the cut of `training`. Raises `UserError` if one has no prepared data."""
    shutil.copytree(code, folder)
    pipeline, cut = training.pipeline, None
    trained = {out for predecessor in chain for out in predecessor.outs}
    seed = find_first_seed(folder, training)
    for member in (*chain, training):
        recipe = budget.read_recipe(folder, pipeline, member.key)
        for path in member.data:
            if str(path) in trained:
                continue
            prepared = find_prepared(path)
            if prepared is None:
                copy(path, folder / path)
                continue
            shape = files.read_json(prepared / "data.json")["image_shape"]
            cut = budget.plan_cut(recipe, shape, options)
            monitor = recipe["early_stopping"]["monitor"]
            spare = int(pipeline == budget.REPLICATIONS)
            files.remove(folder / prepared)
            budget.cut_data(prepared, folder / prepared, cut, monitor, spare)
        if cut is None:
            raise UserError(f"{member.address}: none of its dependencies is prepared data")
        budget.cut_params(folder, pipeline, member.key, cut, seed)
    return cut


def find_prepared(path: Path) -> Path | None:
    """The folder of prepared data that a dependency is or holds; None if it has none."""
    places = (path, path / "prepared")
    return next((place for place in places if (place / "data.json").exists()), None)


def find_first_seed(folder: Path, training: Training) -> int | None:
    """The first seed of a replication; None for a model, which has only one."""
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


def count_epochs(results: dict[str, Path]) -> int:
    """The number of epochs trained, from the history; there is only one seed."""
    history = next(path for name, path in results.items() if name.endswith("history.csv"))
    return len(next(iter(comparing.read_table(history).values())))
