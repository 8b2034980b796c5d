"""Measure how much the models' accuracies differ between seeds alone: the noise against which a
change is judged.

Runs the pipeline once per seed, by ``dvc exp run --temp -S seed=N``, in a folder of DVC's own
beside the working tree. The committed results, which must belong to the committed code, count as
the first seed. Writes ``reports/seed_spread.json``, to be committed:

    measured_on  data set, digests of its images, of the code and of the parameters
    n, seeds     their number, and the seeds
    models       for each: family and size; the accuracies by seed, their mean and standard
                 deviation

Seeds already in the file are not measured again, unless data, code or parameters have changed. An
interrupted run continues from DVC's run-cache. The runs stay as experiments (``dvc exp show``)
until ``dvc exp remove`` removes them. Each seed takes as long as ``dvc repro``.
"""

import argparse
import time
from pathlib import Path

import dvc.api
from dvc.repo import Repo

from commands.pipeline import lockfile
from commands.pipeline.outdated import find_outdated
from commands.pipeline.process import run_dvc
from commands.reviewing import history, spread
from commands.reviewing.spread import SPREAD, Accuracies
from stages import params
from stages.runtime import cli, git
from stages.runtime.errors import UserError
from stages.runtime.progress import format_time
from stages.storage import files

LEAST = 5  # seeds
CODE = ("stages", "dvc.yaml", "data/dvc.yaml")


def run(seed: int, head: str, place: dict[str, str], options: params.Params) -> Accuracies:
    """The accuracies with another seed; an experiment that did it at this commit is taken as it is.
    Raises `UserError` unless it ran on `place`, where the committed results belong."""
    name = f"seed-{seed}-of-{head[:7]}"
    with Repo() as repo:
        done = {
            experiment[0]
            for experiments in repo.experiments.ls().values()
            for experiment in experiments
        }
    command = ("exp", "run", "--temp", "--name", name, "--set-param", f"seed={seed}")
    if name not in done and run_dvc(*command):
        raise UserError(f"the run with seed {seed} failed; {SPREAD} keeps what was measured before")
    lock = lockfile.parse(dvc.api.read("dvc.lock", rev=name))
    ran_as = history.find_commit(name) or ""
    same_code = git.ask("diff", "--name-only", head, ran_as, "--", *CODE) == ""
    if not same_code or not spread.is_of(
        place, lock, options.dataset, options.models, any_seed=True
    ):
        raise UserError(
            f"the experiment {name} has other data, code or parameters than the commit: the "
            "working tree was changed when it began.\n       Remove it by `dvc exp remove "
            f"{name}`, and start again with a clean working tree; {SPREAD} keeps what was measured "
            "before"
        )
    return dvc.api.metrics_show("reports/metrics.json", rev=name)


def main(seeds: int) -> None:
    cli.exit_on_sigterm()
    options = params.load()
    check_source(options.datasets[options.dataset].source)
    changed = git.run("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{SPREAD}")
    outdated = find_outdated()
    if changed or outdated:
        why = (
            f"changed files:\n{changed}"
            if changed
            else f"the results of {outdated[0].stage} do not belong to the code and parameters"
        )
        raise UserError(
            "the spread is measured against committed results: run `dvc repro` and commit. Now: "
            f"{why}"
        )
    head = git.run("rev-parse", "HEAD")
    content = lockfile.parse(Path("dvc.lock").read_text(encoding="utf-8"))
    place = spread.measured_on(content, options.dataset, options.models)
    measured = spread.known(place)
    measured[options.seed] = dvc.api.metrics_show("reports/metrics.json")
    wanted = [options.seed + number for number in range(seeds)]
    missing, started = [seed for seed in wanted if seed not in measured], time.monotonic()
    for done, seed in enumerate(missing):
        left = ""
        if done:
            seconds = (time.monotonic() - started) / done * (len(missing) - done)
            left = f", about {format_time(seconds)} left"
        print(f"seed {seed}: number {wanted.index(seed) + 1} of {seeds}{left}", flush=True)
        measured[seed] = run(seed, head, place, options)
        spread.write(place, measured, options.models)
    spread.write(place, measured, options.models)
    print(f"{SPREAD}: standard deviation of the test accuracy over {len(measured)} seeds")
    for model, one in files.read_json(SPREAD)["models"].items():
        print(f"  {model}: {one['test_accuracy']['sd']:.4f}")


def check_source(source: str) -> None:
    """Raises `UserError` where DVC's temporary folder would lack the data set's source: it holds
    what lies in git or under DVC."""
    if not Path(source).is_absolute() and not git.ask("ls-files", "--", source, f"{source}.dvc"):
        raise UserError(
            f"the seeds run in a separate folder, which lacks {source!r} because it is not in git. "
            "Give the data set's source in params.yaml as an absolute path, and commit that"
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        type=at_least_two,
        default=LEAST,
        help="number of seeds, including the committed one (default: %(default)s)",
    )


def at_least_two(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError("at least two seeds are needed to see a spread")
    return int(text)


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
