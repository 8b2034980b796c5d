#!/usr/bin/env python3
"""Our recipe for each data set against its document's best experiment, by wall time on this
machine.

usage: python benchmarks/beat_the_documents.py        (after `dvc repro
replications/dvc.yaml:evaluate@NAME` of the five recipes)

Times the document's experiment here and now: the first two epochs of its training with the data of
its budget, once for one epoch and once for two, which separates an epoch from the start; from that,
the time of all its epochs on all its training images is computed. Our seconds are those of the
recipe's training, from ``replications/runs/``. Writes ``results/recipes.md`` and
``.json`` and the picture ``results/time_to_accuracy.png``. Accuracies come from
``replications/results/`` and ``published.yaml``.
"""

import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))
os.chdir(PROJECT)

import machine  # noqa: E402
import matplotlib  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: E402

from stages.drawing import charts  # noqa: E402
from stages.drawing.style import COLOURS, STYLE  # noqa: E402
from stages.replications import options, publications  # noqa: E402
from stages.replications.table import count_earlier_epochs  # noqa: E402
from stages.replications.verdicts import is_reduced  # noqa: E402
from stages.storage import files  # noqa: E402
from stages.training import backend  # noqa: E402
from stages.training.experiment import Experiment  # noqa: E402

# our recipe: the experiment with the highest published test accuracy (flowers: validation), its
# epochs, and the one that this accuracy is of
BEST = {
    "mnist-whitened": ("mnist-convnet", 5, 5),
    "fashion-whitened": ("fashion-3blocks-adam", 20, 20),
    "cifar10-whitened": ("cifar10-own", 10, 10),
    "cifar100-whitened": ("cifar100-simple-cnn-more", 30, 26),  # 10, and 20 more
    "flowers-whitened": ("flowers-v7-improvement5-aug2", 78, 48),
}
TITLES = {
    "mnist-whitened": "MNIST",
    "fashion-whitened": "Fashion-MNIST",
    "cifar10-whitened": "CIFAR-10",
    "cifar100-whitened": "CIFAR-100",
    "flowers-whitened": "Flowers",
}
TIMED_IMAGES = 10_000  # of the document's training images that are timed, at most


def seconds_of(name: str, epochs: int) -> float:
    """The time here of all epochs of the experiment `name`, on all its training images."""
    root, replications = options.load()
    entry = replications.experiments[name]
    if not (options.FOLDER / "data" / entry.variant / "prepared").exists():
        sys.exit(
            f"the data of {name} are missing: `dvc repro "
            f"replications/dvc.yaml:data@{entry.variant}` prepares them"
        )
    whole = options.open_prepared(
        entry.model_copy(
            update={"budget": options.Budget(epochs=None, train=None, evaluation=None)}
        )
    )
    everything = {part: len(whole.labels(part)) for part in ("train", "validation")}
    share = min(1, TIMED_IMAGES / everything["train"])
    budget = options.Budget(
        epochs=None,
        train=math.ceil(everything["train"] * share),
        evaluation=math.ceil(everything["validation"] * share),
    )
    from stages.training import fitting
    from stages.training.network import build_network

    data = options.open_prepared(entry.model_copy(update={"budget": budget}))
    took = []
    for number in (1, 2):
        recipe = options.complete_train(replications.common, entry).model_copy(
            update={"epochs": number}
        )
        augment = options.complete_augment(replications.common, entry)
        experiment = Experiment(
            name, entry.seeds[0], root.architectures[entry.architecture], augment, recipe
        )
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            checkpoint = Path(folder) / "checkpoint.npz"
            fitting.train_network(
                experiment, build_network(experiment, data), data, Path(folder), checkpoint
            )
            took.append(time.perf_counter() - started)
    epoch = took[1] - took[0]
    return max(took[0] - epoch, 0) + epochs * epoch / share


def measured(recipe: str, best: str, epochs: int) -> dict:
    """One row of the table."""
    facts = publications.read_documents([recipe, best])
    result = files.read_json(options.FOLDER / "results" / recipe / "result.json")
    record = files.read_json(options.FOLDER / "runs" / f"{recipe}.json")
    accuracies = [seed["test"]["accuracy"] for seed in result["seeds"].values()]
    first = next(iter(result["seeds"].values()))
    return {
        "recipe": recipe,
        "document": best,
        "document_accuracy": facts[recipe].published.accuracy,
        "document_seconds": round(seconds_of(best, epochs), 1),
        "accuracies": accuracies,
        "accuracy": round(float(np.mean(accuracies)), 4),
        "sd": round(float(np.std(accuracies, ddof=1)), 4) if len(accuracies) > 1 else None,
        "parameters": first["parameters"],
        "training_images": result["images"]["train"],
        "epochs": first["epochs"],
        "seconds": [seed["seconds"]["fit"] for seed in record.values()],
        "seconds_an_epoch": [seed["seconds"]["an_epoch"] for seed in record.values()],
    }


def markdown(rows: list[dict]) -> str:
    lines = [
        "| recipe | document's best | accuracy | seconds | our accuracy | seeds | our seconds | "
        "parameters | epochs | images |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        sd = "" if row["sd"] is None else f" ± {row['sd']:.4f}"
        lines.append(
            f"| {row['recipe']} | {row['document']} | {row['document_accuracy']:.4f} | "
            f"{row['document_seconds']:.0f} "
            f"| {row['accuracy']:.4f}{sd} | {len(row['accuracies'])} | "
            f"{np.mean(row['seconds']):.0f} | {row['parameters']:,} "
            f"| {row['epochs']} | {row['training_images']:,} |"
        )
    return "\n".join(lines)


def picture(rows: list[dict]) -> Figure:
    """Validation accuracy by wall time; the document's figure as a cross at the epoch it is of, our
    test accuracy as a ring. The accuracies by epoch are those of the network alone: what is saved
    averages over the image and its mirror image too, where a recipe says so."""
    experiments = options.load()[1].experiments
    documents = publications.read_documents(experiments)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 6.5), layout="constrained")
        panels = figure.subplots(2, 3).ravel()
        for axes, row in zip(panels, rows):
            _, epochs, best = BEST[row["recipe"]]
            for name, label, colour, seconds in (
                (
                    row["document"],
                    "the document's experiment, run again, by epoch\n(its validation images)",
                    COLOURS[1],
                    row["document_seconds"] / epochs,
                ),
                (
                    row["recipe"],
                    "our recipe, by epoch (a held-out tenth)",
                    COLOURS[0],
                    np.mean(row["seconds"]) / row["epochs"],
                ),
            ):
                folder = options.FOLDER / "results" / name
                if is_reduced(files.read_json(folder / "result.json")):
                    axes.text(0.5, 0.1, "not run again in full", transform=axes.transAxes)
                    continue
                curves = pd.read_csv(folder / "curves.csv").query("part == 'validation'")
                earlier = count_earlier_epochs(experiments[name], documents)
                axes.plot(
                    (curves["epoch"] + earlier) * seconds,
                    curves["accuracy"],
                    "o-",
                    markersize=3,
                    color=colour,
                    label=label,
                )
            axes.plot(
                row["document_seconds"] * best / epochs,
                row["document_accuracy"],
                "x",
                markersize=9,
                color=COLOURS[1],
                label="the document's accuracy, at its epoch",
            )
            axes.plot(
                np.mean(row["seconds"]),
                row["accuracy"],
                "o",
                markersize=9,
                markerfacecolor="none",
                color=COLOURS[0],
                label="our test accuracy, mean over seeds",
            )
            axes.axhline(row["document_accuracy"], color="#b0b0b0", linewidth=0.8)
            axes.set(
                title=TITLES[row["recipe"]],
                xlabel="seconds on two cores (log scale)",
                xscale="log",
                ylabel="accuracy",
            )
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(axis="x", labelsize=8)
        panels[-1].axis("off")
        panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False)
        figure.suptitle("Time to accuracy")
        return figure


def main() -> None:
    backend.start(2)
    rows = [measured(recipe, *best) for recipe, (*best, _) in BEST.items()]
    made_on = machine.described("tensorflow", "keras")
    charts.save(picture(rows), machine.RESULTS / "time_to_accuracy.png")
    machine.write(
        "recipes",
        {"machine": made_on, "rows": rows},
        f"{markdown(rows)}\n\n{machine.in_words(made_on)}\n",
    )


if __name__ == "__main__":
    main()
