"""Measure how much the models' accuracies differ between seeds alone: the noise against which a
change is judged.

Runs the pipeline once per seed, by ``dvc exp run --temp -S seed=N``, in a temporary folder of DVC.
The committed results, which must belong to the committed code, count as the first seed. Writes
``reports/seed_spread.json``, to be committed:

    measured_on  data set; digests of its images, of the code, of the parameters, and of pre-trained
                 weights if there are any
    n, seeds     the number of seeds, and the seeds
    models       for each: family and size; the accuracies by seed, their mean and standard
                 deviation

Seeds already in the file are not measured again, unless data, code or parameters have changed. An
interrupted run continues from DVC's run-cache. The runs stay as experiments (``dvc exp show``)
until ``dvc exp remove`` removes them. Each seed takes as long as ``dvc repro``.
"""

import argparse
import contextlib
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import dvc.api
import psutil

from commands.pipeline import lockfile, sources
from commands.pipeline.outdated import find_outdated
from commands.pipeline.process import run_dvc
from commands.reviewing import history, spread
from commands.reviewing.spread import SPREAD, Accuracies
from stages import params
from stages.runtime import cli, git, guard
from stages.runtime.errors import UserError
from stages.runtime.progress import format_time
from stages.storage import files
from stages.training import backend

SEEDS = 5
CODE = ("stages", "dvc.yaml", "data/dvc.yaml")
RUNS = Path(".dvc/tmp/exps/run")  # where DVC records the temporary folders of its experiments
LOCK = Path(".dvc/tmp/seed_spread.lock")
SECONDS_TO_END = 10  # a stage needs one after DVC's end


def run(seed: int, head: str, provenance: dict[str, str], options: params.Params) -> Accuracies:
    """The accuracies with another seed, from the commit `head`; an experiment that already ran
    there is reused. Raises `UserError` if it failed, or does not have the `provenance` of the
    committed results."""
    name = f"seed-{seed}-of-{head[:7]}"
    if not history.find_commit(name) and run_experiment(name, seed):
        raise UserError(f"the run with seed {seed} failed; {SPREAD} keeps what was measured before")
    lock = lockfile.parse(dvc.api.read("dvc.lock", rev=name))
    ran_as = history.find_commit(name) or ""
    same_code = git.ask("diff", "--name-only", head, ran_as, "--", *CODE) == ""
    if not same_code or not spread.has_provenance(
        provenance, lock, options.dataset, options.models, any_seed=True
    ):
        raise UserError(
            f"the experiment {name} has other data, code or parameters than the commit: the "
            "working tree had changed when it started.\n       Remove it by `dvc exp remove "
            f"{name}`, and start again with a clean working tree; {SPREAD} keeps what was measured "
            "before"
        )
    return dvc.api.metrics_show("reports/metrics.json", rev=name)


def run_experiment(name: str, seed: int) -> int:
    """Run the pipeline with another seed, as an experiment in a temporary folder, a whole clone,
    which DVC leaves behind if it is ended: remove it then. Returns DVC's exit status."""
    earlier = {*RUNS.glob("*/*.run")}
    try:
        return run_dvc("exp", "run", "--temp", "--name", name, "--set-param", f"seed={seed}")
    finally:
        for record in {*RUNS.glob("*/*.run")} - earlier:
            with contextlib.suppress(UserError, LookupError, TypeError):  # half written, or another
                content = files.read_json(record)
                if content["name"] == name and os.path.isdir(content["root_dir"]):
                    remove_unused(Path(content["root_dir"]))
                    files.remove(record.parent)


def remove_unused(folder: Path) -> None:
    """Remove a folder once the processes that still end in it are gone."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                processes.append(process)
    psutil.wait_procs(processes, timeout=SECONDS_TO_END)
    shutil.rmtree(folder, ignore_errors=True)


def main(seeds: int) -> None:
    cli.exit_on_signals()
    cli.require_project()
    options = params.load()
    sources.require(options, is_there)
    require_committed_results()
    refuse_other_backend(options.models)
    with guard.hold(LOCK, "commands.seed_spread"):
        measure(seeds, options)


def measure(seeds: int, options: params.Params) -> None:
    """Run the pipeline with each seed that is not measured yet, and write the spread."""
    head = git.run("rev-parse", "HEAD")
    content = lockfile.read(Path("dvc.lock"))
    provenance = spread.describe_provenance(content, options.dataset, options.models)
    measured = spread.read_measured(provenance)
    measured[options.seed] = dvc.api.metrics_show("reports/metrics.json")
    wanted = [options.seed + number for number in range(seeds)]
    missing, started = [seed for seed in wanted if seed not in measured], time.monotonic()
    for done, seed in enumerate(missing):
        left = ""
        if done:
            seconds = (time.monotonic() - started) / done * (len(missing) - done)
            left = f", about {format_time(seconds)} left"
        print(f"seed {seed}: number {wanted.index(seed) + 1} of {seeds}{left}", flush=True)
        measured[seed] = run(seed, head, provenance, options)
        spread.write(provenance, measured, options.models)
    spread.write(provenance, measured, options.models)
    print(f"{SPREAD}: standard deviation of the test accuracy over {len(measured)} seeds")
    for model, accuracies in files.read_json(SPREAD)["models"].items():
        print(f"  {model}: {accuracies['test_accuracy']['sd']:.4f}")


def require_committed_results() -> None:
    """Raise `UserError` unless the results belong to the committed code and parameters."""
    changed = git.run("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{SPREAD}")
    if changed:
        why = f"changed files:\n{changed}"
    elif outdated := find_outdated():
        why = f"the results of {outdated[0].stage} do not belong to the code and parameters"
    else:
        return
    raise UserError(
        "the spread is measured against committed results: run `dvc repro` and commit. "
        f"Currently: {why}"
    )


def refuse_other_backend(models: Iterable[str]) -> None:
    """Raise `UserError` if the other seeds would be computed by another backend than the committed
    results of one of the `models`, which would mix two spreads. (The device is not compared.)"""
    now = backend.choose_backend()
    for file in (Path("reports/models") / model / "training.json" for model in models):
        if not (by := files.read_json(file)["computed_by"]).startswith(now):
            raise UserError(
                f"{file} was computed by {by}, but {now} would compute the other seeds: set "
                "KERAS_BACKEND to the same backend"
            )


def is_there(path: str) -> bool:
    """Whether DVC's temporary folder will have the file at `path`: a relative one if it is tracked
    by git or DVC; an absolute one always, since it may be in DVC's cache already."""
    return Path(path).is_absolute() or any(map(sources.is_tracked, (path, f"{path}.dvc")))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        type=cli.number_between(int, 2),
        default=SEEDS,
        help="number of seeds, including the committed one (default: %(default)s)",
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
