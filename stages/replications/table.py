"""Stage table of the replications: compare published and obtained accuracies, a row per experiment.

Reads ``result.json`` and ``curves.csv`` in ``replications/results/*/``,
``replications/params.yaml``, ``published.yaml`` and ``published_curves.csv``; writes into
``replications/`` ``table.csv``, ``table.md``, ``published_and_obtained.png``, ``losses.png``, and
``curves/EXPERIMENT.png`` and ``curves/DOCUMENT.png`` for each experiment and document. An
experiment that has not run yet has a row that says so.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from stages.drawing import charts
from stages.metrics.scores import estimate_standard_error
from stages.replications import formatting, learning_curves, options, overview, publications
from stages.replications.verdicts import (
    RECIPES,
    VARIATIONS,
    Spreads,
    estimate_noise,
    find_origin,
    is_reduced,
    judge_replication,
    measure_spreads,
)
from stages.runtime import cli
from stages.storage import files

RESULTS = options.FOLDER / "results"
# these "documents" are our own: they have sections of their own, and are not in the figure
TITLES = {
    RECIPES: "Our own recipes",
    VARIATIONS: "The documents' experiments with one change",
}


def build_row(
    name: str,
    facts: publications.Facts,
    entry: options.Entry,
    dataset: str,
    result: dict[str, Any] | None,
    spreads: Spreads,
) -> dict[str, Any]:
    """One row of the table."""
    published = facts.published
    common = {
        "experiment": name,
        "document": facts.document,
        "dataset": dataset,
        "published": published.accuracy,
        "of": f"{published.of}, {published.epoch} epoch",
        "expected_minutes": entry.minutes,
        "notes": " ".join([*facts.deviations, *facts.notes]),
    }
    if result is None:
        return common | {"verdict": "not run yet"}
    seeds = list(result["seeds"].values())
    mean = sum(metrics["obtained"] for metrics in seeds) / len(seeds)
    images = seeds[0][published.of]["images"]
    reduced = is_reduced(result)
    if heads := seeds[0].get("heads"):
        ours = ", ".join(
            f"{head} {metrics[f'{published.of}_accuracy']:.4f}" for head, metrics in heads.items()
        )
        common["notes"] += f" Ours, last epoch: {ours}."
    common |= {
        "parameters": seeds[0]["parameters"],
        "parameters_published": published.parameters,
        "obtained": mean,
        "standard_error": estimate_standard_error(mean, images),
        "spread": spreads.own and spreads.own.deviation,
        "seeds": len(seeds),
        "epochs": seeds[0]["epochs"],
        "epochs_published": facts.trained.epochs,
        "training_images": result["images"]["train"],
        "training_images_published": facts.trained.images,
        "measured_images": images,
        "measured_images_published": published.images,
        **measure_conditions(
            facts, result["parameters"]["budget"], result["images"]["train"], images
        ),
        "computed_by": result.get("computed_by"),
        "budget": "reduced" if reduced else "full",
    }
    noise = None
    if published.accuracy is not None and not reduced:
        noise = estimate_noise(published, mean, images, len(seeds), spreads)
    verdict = judge_replication(published.accuracy, mean, noise, reduced)
    return common | {"noise": noise, "verdict": verdict}


def measure_conditions(
    facts: publications.Facts,
    budget: dict[str, int | None],
    training_images: int,
    measured_images: int,
) -> dict[str, float | None]:
    """The shares, at most 1, of the document's training images, epochs and measured images that
    this run had. A training that early stopping may end at any epoch, as in the document, counts as
    having all epochs. None if there is no such run."""
    limit, ran = budget["epochs"], facts.trained.epochs
    return {
        "training_images_share": min(1, training_images / facts.trained.images),
        "epochs_share": None if ran is None else min(1, (limit or ran) / ran),
        "measured_images_share": min(1, measured_images / facts.published.images),
    }


def add_variations(curves: pd.DataFrame, documents: dict[str, publications.Facts]) -> pd.DataFrame:
    """The published `curves`, with those of an experiment repeated for its variations, whose names
    begin with its own."""
    more = [
        curves[curves["experiment"] == find_origin(name, documents)].assign(experiment=name)
        for name, facts in documents.items()
        if facts.document == VARIATIONS
    ]
    return pd.concat([curves, *more])


def draw_all_curves(
    results: dict[str, dict[str, Any]],
    entries: dict[str, options.Entry],
    documents: dict[str, publications.Facts],
    folder: Path,
) -> None:
    """Write the learning curves of each experiment into `folder`, and those of each document, where
    experiments on a reduced budget are left out, and one that continues another begins after it."""
    published = add_variations(publications.read_published_curves(), documents)
    curves = {name: pd.read_csv(RESULTS / name / "curves.csv") for name in results}
    for name, result in results.items():
        printed = published[published["experiment"] == name]
        loss = result["parameters"]["train"]["loss"]
        figure = learning_curves.draw_curves(name, curves[name], printed, loss)
        charts.save(figure, folder / f"{name}.png")
    for document in dict.fromkeys(documents[name].document for name in results):
        ran = {
            name: count_earlier_epochs(entries[name], documents)
            for name, result in results.items()
            if documents[name].document == document and not is_reduced(result)
        }
        if not ran:
            continue
        ours = [
            curves[name].assign(epoch=curves[name]["epoch"] + more) for name, more in ran.items()
        ]
        printed = published[published["experiment"].isin(ran)]
        printed = printed.assign(epoch=printed["epoch"] + printed["experiment"].map(ran))
        title = TITLES.get(document, f"{document}: the document's experiments, run again")
        figure = learning_curves.draw_curves_of_document(title, pd.concat(ours), printed)
        charts.save(figure, folder / f"{document}.png")


def count_earlier_epochs(entry: options.Entry, documents: dict[str, publications.Facts]) -> int:
    """The epochs, in the document, of the experiment that this one continues; 0 if it continues
    none, or they are not known."""
    start = options.find_start(entry)
    if start is None:
        return 0
    return documents[start].trained.epochs or 0


def main() -> None:
    _, replications = options.load()
    entries = replications.experiments
    documents = publications.read_documents(entries)
    results = {
        name: files.read_json(RESULTS / name / "result.json")
        for name in entries
        if (RESULTS / name / "result.json").exists()
    }
    datasets = {
        name: replications.variants[entry.variant].dataset for name, entry in entries.items()
    }
    spreads = measure_spreads(results, documents, datasets)
    rows = [
        build_row(name, documents[name], entry, datasets[name], results.get(name), spreads[name])
        for name, entry in entries.items()
    ]
    files.write_csv(pd.DataFrame(rows).round(6), options.FOLDER / "table.csv")
    files.write_text(options.FOLDER / "table.md", formatting.format_table(rows))
    of_documents = [row for row in rows if row["document"] not in TITLES]
    compared = overview.draw_published_and_obtained(of_documents)
    charts.save(compared, options.FOLDER / "published_and_obtained.png")
    charts.save(overview.draw_losses(), options.FOLDER / "losses.png")
    with files.replacing(options.FOLDER / "curves") as folder:
        folder.mkdir()
        draw_all_curves(results, entries, documents, folder)
    print(f"{len(results)} of {len(entries)} experiments and recipes have run")


if __name__ == "__main__":
    cli.run(main, __doc__)
