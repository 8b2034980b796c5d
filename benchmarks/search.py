#!/usr/bin/env python3
"""How long `python -m commands.search` takes for 24 trials, and DVC's own queue for as many runs,
and how good the best of each is.

usage: python benchmarks/search.py [--workers N]        (default: 2; about 25 minutes on two cores)

On the default data, for fashion-2blocks: the queue runs the grid of two optimizers, four learning
rates and batch norm none, before and after, N side by side (`dvc exp run --queue`, then `--run-all
--jobs N`), each up to its evaluation. The search has 24 trials of the same space, with learning
rates between those, sampled by TPE and pruned by the median rule, N side by side; nothing is
confirmed. Each works in a clone of HEAD with a cache of its own, in which the data stages are done.
Writes benchmarks/results/search.json and search.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from machine import PROJECT, described, in_words, write

from commands.pipeline.process import build_environment

MODEL = "fashion-2blocks"
RATES = (0.001, 0.003, 0.01, 0.03)
OPTIMIZERS, BATCH_NORM = ("sgd", "adam"), ("none", "before", "after")
SEARCH = f"""
model: {MODEL}
objective: validation_accuracy
trials: {len(RATES) * len(OPTIMIZERS) * len(BATCH_NORM)}
minutes:
sampler: TPESampler
sampler_arguments: {{n_startup_trials: 8}}
pruner: MedianPruner
pruner_arguments: {{n_startup_trials: 4, n_warmup_steps: 1}}
seeds: 1
confirm_seeds: 0
space:
  train.optimizer: {{choice: [{", ".join(OPTIMIZERS)}]}}
  train.learning_rate: {{low: {RATES[0]}, high: {RATES[-1]}, log: true}}
  architectures.{MODEL}.batch_norm: {{choice: [{", ".join(BATCH_NORM)}]}}
"""


def run(*command: str, cwd: Path) -> float:
    """Run a command; returns its seconds."""
    begin = time.perf_counter()
    result = subprocess.run(command, cwd=cwd, env=build_environment())
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - begin


def clone(folder: Path) -> Path:
    """A clone of HEAD in which the stages that all trainings share are done."""
    run("git", "clone", "--quiet", str(PROJECT), str(folder), cwd=PROJECT)
    shared = ("fingerprint", "preprocess", "data/dvc.yaml:weights")
    run(sys.executable, "-m", "dvc", "repro", *shared, cwd=folder)
    (folder / "searches/timed.yaml").write_text(SEARCH)
    author = ("-c", "user.name=b", "-c", "user.email=b@example.org")
    run("git", "add", "--all", cwd=folder)
    run("git", *author, "commit", "--quiet", "--allow-empty", "--message", "timed", cwd=folder)
    return folder


def queue(folder: Path, workers: int) -> tuple[float, list[dict]]:
    """The seconds of the grid by DVC's queue, and the validation set's metrics of each run."""
    dvc = (sys.executable, "-m", "dvc", "exp")
    sets = (
        f"train.optimizer={','.join(OPTIMIZERS)}",
        f"train.learning_rate={','.join(map(str, RATES))}",
        f"architectures.{MODEL}.batch_norm={','.join(BATCH_NORM)}",
    )
    options = [part for one in sets for part in ("--set-param", one)]
    seconds = run(*dvc, "run", "--queue", *options, f"evaluate@{MODEL}", cwd=folder)
    seconds += run(*dvc, "run", "--run-all", "--jobs", str(workers), cwd=folder)
    references = ("git", "for-each-ref", "--format=%(refname)", "refs/exps")
    names = subprocess.run(references, cwd=folder, text=True, capture_output=True).stdout.split()
    found = []
    for name in names:
        if len(name.split("/")) == 5 and "/exec/" not in name:
            show = ("git", "show", f"{name}:reports/models/{MODEL}/metrics.json")
            text = subprocess.run(show, cwd=folder, text=True, capture_output=True, check=True)
            found.append(json.loads(text.stdout)["validation"])
    return seconds, found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    # the queue's workers keep writing for some seconds after their last run
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = clone(Path(temporary) / "search")
        command = ("commands.search", "timed", "--workers", str(workers))
        search_seconds = run(sys.executable, "-m", *command, cwd=folder)
        trials = pd.read_csv(folder / "searches/timed/trials.csv")
        queue_seconds, runs = queue(clone(Path(temporary) / "queue"), workers)
    best = max(runs, key=lambda one: one["accuracy"])
    content = {
        "machine": described("dvc", "optuna", "keras", "tensorflow"),
        "workers": workers,
        "search": {
            "seconds": search_seconds,
            "states": trials["state"].value_counts().to_dict(),
            "epochs": int(trials["epochs"].sum()),
            "best_validation_accuracy": float(trials["validation_accuracy"].max()),
        },
        "queue": {
            "seconds": queue_seconds,
            "runs": len(runs),
            "best_validation_accuracy": best["accuracy"],
            "standard_error": best["standard_error"],
        },
    }
    write("search", content, table(content))


def table(content: dict) -> str:
    search, queued = content["search"], content["queue"]
    states = ", ".join(f"{count} {state}" for state, count in search["states"].items())
    lines = [
        f"{queued['runs']} trials of {MODEL}, {content['workers']} side by side, once, n = 1: the "
        "search takes "
        f"{search['seconds'] / queued['seconds']:.2f} of the time of DVC's queue. "
        f"{in_words(content['machine'])}.",
        "",
        "| | trials | minutes | best validation accuracy |",
        "|---|---|--:|--:|",
        f"| `python -m commands.search` | {states} | {search['seconds'] / 60:.1f} | "
        f"{search['best_validation_accuracy']:.4f} |",
        f"| `dvc exp run --queue`, the grid | {queued['runs']} | {queued['seconds'] / 60:.1f} | "
        f"{queued['best_validation_accuracy']:.4f} ± {queued['standard_error']:.4f} |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
