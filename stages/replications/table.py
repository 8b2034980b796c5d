"""Stage table of the replications: published against obtained, a row an experiment.

Reads ``replications/results/*/result.json``, ``replications/params.yaml``, ``published.yaml`` and
``published_curves.csv``; writes into ``replications/`` ``table.csv``, ``table.md``,
``published_and_obtained.png``, ``losses.png``, and ``curves/DOCUMENT.png`` for each document. An
experiment that has not run yet has a row that says so.

The verdict compares the difference with its noise: the root of the sum of the squared standard
errors of both figures and of the spread over seeds, which counts once for the document's run and
through the number of seeds for ours. ``within noise`` is a difference of at most two of that.
"""

import math
from typing import Any

import pandas as pd

from stages.drawing import charts
from stages.metrics.measures import estimate_standard_error
from stages.replications import formatting, options, overview
from stages.runtime import cli
from stages.storage import files

RESULTS = options.FOLDER / "results"
OWN = "recipes"  # the "document" of our own recipes: a section of their own, and not in the picture


def measure_spreads(
    results: dict[str, dict[str, Any]], documents: dict[str, options.Facts]
) -> dict[str, float | None]:
    """The standard deviation over seeds of each experiment: its own with three seeds or more, else
    the greatest of its document's experiments that have three; None where none has."""
    own = {
        name: pd.Series([one["obtained"] for one in result["seeds"].values()]).std()
        for name, result in results.items()
        if len(result["seeds"]) >= 3
    }
    siblings = {
        name: [own[other] for other in own if documents[other].document == documents[name].document]
        for name in documents
    }
    return {name: own.get(name, max(siblings[name], default=None)) for name in documents}


def build_row(
    name: str,
    facts: options.Facts,
    entry: options.Entry,
    dataset: str,
    result: dict[str, Any] | None,
    spread: float | None,
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
    mean = sum(one["obtained"] for one in seeds) / len(seeds)
    images = seeds[0][published.of]["images"]
    budget = result["parameters"]["budget"]  # that of the run, whatever params.yaml allows now
    reduced = any(value is not None for value in budget.values())
    if heads := seeds[0].get("heads"):
        ours = ", ".join(
            f"{head} {one[f'{published.of}_accuracy']:.4f}" for head, one in heads.items()
        )
        common["notes"] += f" Ours, last epoch: {ours}."
    common |= {
        "parameters": seeds[0]["parameters"],
        "parameters_published": published.parameters,
        "obtained": mean,
        "standard_error": estimate_standard_error(mean, images),
        "spread": spread if len(seeds) >= 3 else None,
        "seeds": len(seeds),
        "epochs": seeds[0]["epochs"],
        "epochs_published": facts.trained.epochs,
        "training_images": result["images"]["train"],
        "training_images_published": facts.trained.images,
        "measured_images": images,
        "measured_images_published": published.images,
        **measure_conditions(facts, budget, result["images"]["train"], images),
        "computed_by": result.get("computed_by"),
        "budget": "reduced" if reduced else "full",
    }
    words = judge_replication(published, mean, images, len(seeds), spread, reduced)
    return common | {"verdict": words}


def measure_conditions(
    facts: options.Facts,
    budget: dict[str, int | None],
    training_images: int,
    measured_images: int,
) -> dict[str, float | None]:
    """How much of what the document's run had this one had, 1 at most: of its training images, of
    its epochs, of the images that the accuracy is measured on. A training that early stopping may
    end where it will, as in the document, has all its epochs. None where there is no such run."""
    limit, ran = budget["epochs"], facts.trained.epochs
    return {
        "training_images_share": min(1, training_images / facts.trained.images),
        "epochs_share": None if ran is None else min(1, (limit or ran) / ran),
        "measured_images_share": min(1, measured_images / facts.published.images),
    }


def judge_replication(
    published: options.Published,
    mean: float,
    images: int,
    seeds: int,
    spread: float | None,
    reduced: bool,
) -> str:
    """In words, whether the published accuracy was obtained again. Of the document's run only the
    accuracy is known: what both networks predict for each image, as the review of two runs of ours
    compares it, is not."""
    if published.accuracy is None:
        return "nothing published"
    if reduced:
        return "reduced budget"
    seed_variance = (spread or 0) ** 2
    noise = math.sqrt(
        estimate_standard_error(published.accuracy, published.images) ** 2
        + seed_variance * (1 + 1 / seeds)
        + estimate_standard_error(mean, images) ** 2
    )
    difference = mean - published.accuracy
    if abs(difference) <= 2 * noise:
        return "within noise"
    return "above" if difference > 0 else "below"


def main() -> None:
    _, replications = options.load()
    entries, documents = replications.experiments, options.documents(replications.experiments)
    results = {
        name: files.read_json(RESULTS / name / "result.json")
        for name in entries
        if (RESULTS / name / "result.json").exists()
    }
    spread = measure_spreads(results, documents)
    rows = [
        build_row(
            name,
            documents[name],
            entry,
            replications.variants[entry.variant].dataset,
            results.get(name),
            spread[name],
        )
        for name, entry in entries.items()
    ]
    files.write_csv(pd.DataFrame(rows).round(6), options.FOLDER / "table.csv")
    files.write_text(options.FOLDER / "table.md", formatting.format_table(rows))
    charts.save(
        overview.draw_published_and_obtained([one for one in rows if one["document"] != OWN]),
        options.FOLDER / "published_and_obtained.png",
    )
    charts.save(overview.draw_losses(), options.FOLDER / "losses.png")
    published_curves = options.read_published_curves()
    with files.replacing(options.FOLDER / "curves") as folder:
        folder.mkdir()
        for document in dict.fromkeys(documents[name].document for name in results):
            ran = [name for name in results if documents[name].document == document]
            curves = pd.concat(pd.read_csv(RESULTS / name / "curves.csv") for name in ran)
            title = (
                "Our own recipes"
                if document == OWN
                else f"{document}: the document's experiments, run again"
            )
            printed = published_curves[published_curves["experiment"].isin(ran)]
            charts.save(
                overview.draw_curves_of_document(title, curves, printed),
                folder / f"{document}.png",
            )
    print(f"{len(results)} of {len(entries)} experiments and recipes have run")


if __name__ == "__main__":
    cli.run(main, __doc__)
