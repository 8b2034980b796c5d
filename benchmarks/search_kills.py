#!/usr/bin/env python3
"""Random kills of `python -m commands.search`, and whether it ends with the trials of an
undisturbed one.

usage: python benchmarks/search_kills.py [--kills N] [--seed S]        (default: 10; 10 minutes)

The project is the tests' small one, with the real trainings; the search tries six learning
rates on two workers. At a random moment kill -9 hits the command, which is then started again, or
one of its workers, whose training Dask gives to another one. The search that ends must have six
complete trials, one for each learning rate, with the accuracies and the model files of an
undisturbed search on one worker. Then it starts over, with an empty run-cache, until there were N
kills. Writes benchmarks/results/search_kills.json and search_kills.md.
"""

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import yaml
from machine import described, in_words, write
from support.project import Project, small_project

RATES = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]
SEARCH = {
    "model": "fashion-2blocks",
    "objective": "validation_accuracy",
    "trials": 20,
    "minutes": None,
    "sampler": "BruteForceSampler",
    "sampler_arguments": {},
    "pruner": "NopPruner",
    "pruner_arguments": {},
    "seeds": 1,
    "confirm_seeds": 0,
    "space": {"train.learning_rate": {"choice": RATES}},
}
COMMAND = (sys.executable, "-m", "commands.search", "killed", "--workers")


def make_project(folder: Path) -> Project:
    project = small_project(folder)
    project.path("searches").mkdir()
    project.path("searches/killed.yaml").write_text(yaml.safe_dump(SEARCH))
    project.edit_params(lambda params: params["train"].update(epochs=12))
    project.edit_params(lambda params: params["train"]["early_stopping"].update(patience=11))
    project.commit()
    return project


def outcome(project: Project) -> dict[float, tuple[float, str]]:
    """The accuracy and the digest of the model's file by learning rate. Raises `AssertionError`
    unless each rate has one complete trial."""
    trials = pd.read_csv(project.path("searches/killed/trials.csv"))
    assert sorted(trials["train.learning_rate"]) == RATES, trials
    assert set(trials["state"]) == {"complete"}, trials
    names = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    found = {}
    for trial in trials.itertuples(index=False):
        (name,) = (name for name in names if name.endswith(f"/{trial.experiment}"))
        lock = yaml.safe_load(project.run("git", "show", f"{name}:dvc.lock"))
        outs = lock["stages"][f"train@{SEARCH['model']}"]["outs"]
        (model,) = (out["md5"] for out in outs if out["path"].endswith("model.keras"))
        found[trial[4]] = trial.validation_accuracy, model
    return found


def start(project: Project, log: Path, workers: int, *options: str) -> subprocess.Popen:
    with open(log, "w") as file:
        return subprocess.Popen(
            [*COMMAND, str(workers), *options],
            cwd=project.folder,
            env=project.environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def find_workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The workers that a command has started."""
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may have ended
            if "spawn_main" in " ".join(one.cmdline()):
                found.append(one)
    return found


def kill(process: subprocess.Popen, chance: random.Random) -> str:
    """Kill the command or one of its workers, at once. Returns which."""
    workers = find_workers(process)
    if workers and chance.random() < 0.5:
        chance.choice(workers).kill()
        return "worker"
    process.kill()
    process.wait()
    return "command"


def search(
    project: Project, log: Path, workers: int, chance: random.Random, kills: list[str], most: int
) -> None:
    """A search from beginning to end, with at most `most` kills on the way."""
    shutil.rmtree(project.path(".dvc/cache/runs"), ignore_errors=True)
    project.path("dvc.lock").unlink(missing_ok=True)
    process = start(project, log, workers, "--anew")
    try:
        while process.poll() is None:
            try:
                process.wait(chance.uniform(10, 60))
            except subprocess.TimeoutExpired:
                if len(kills) < most:
                    kills.append(kill(process, chance))
                    print(len(kills), kills[-1], flush=True)
                    if kills[-1] == "command":
                        time.sleep(chance.uniform(0, 3))
                        process = start(project, log, workers)
    finally:
        process.kill()
    if process.returncode:
        sys.exit(f"it failed:\n{log.read_text()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance, kills, searches = random.Random(arguments.seed), [], 0
    with tempfile.TemporaryDirectory() as temporary:
        project, log = make_project(Path(temporary) / "project"), Path(temporary) / "log"
        search(project, log, 1, chance, kills, 0)
        expected = outcome(project)
        while len(kills) < arguments.kills:
            search(project, log, 2, chance, kills, arguments.kills)
            searches += 1
            if outcome(project) != expected:
                sys.exit(f"other results: {outcome(project)}, not {expected}\n{log.read_text()}")
    content = {
        "machine": described("dvc", "optuna", "distributed", "keras", "tensorflow"),
        "kills": kills,
        "searches": searches,
    }
    counts = f"{kills.count('command')} of the command, {kills.count('worker')} of a worker"
    text = (
        f"{len(kills)} kills ({counts}) in {searches} searches of six trials: each search ended "
        "with six trials and the model files of an undisturbed one. "
        f"{in_words(content['machine'])}.\n"
    )
    write("search_kills", content, text)


if __name__ == "__main__":
    main()
