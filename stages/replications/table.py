"""Stage table of the replications: published against obtained, a row an experiment.

Reads ``replications/results/*/result.json``, ``replications/params.yaml`` and ``published.yaml``;
writes into ``replications/`` ``table.csv``, ``table.md``, ``published_and_obtained.png``,
``losses.png``, and ``curves/DOCUMENT.png`` for each document. An experiment that has not run yet
has a row that says so.

The verdict compares the difference with its noise: the root of the sum of the squared standard
errors of both figures and of the spread over seeds, which counts once for the document's run and
through the number of seeds for ours. ``within noise`` is a difference of at most two of that.
"""

import math
from typing import Any

import pandas as pd

from stages.drawing import charts
from stages.metrics.measures import estimate_standard_error
from stages.replications import figures, options
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
    reduced = any(value is not None for value in entry.budget.model_dump().values())
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
        "training_images": result["images"]["train"],
        "measured_images": images,
        "budget": "reduced" if reduced else "full",
    }
    words = judge_replication(published, mean, images, len(seeds), spread, reduced)
    return common | {"verdict": words}


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


def format_table(rows: list[dict[str, Any]]) -> str:
    """The table for people, a section a document."""
    lines = []
    for document in dict.fromkeys(one["document"] for one in rows):
        some = [one for one in rows if one["document"] == document]
        if lines:
            lines.append("")
        lines += [f"## {document}", "", *format_section(some)]
    return "\n".join([*lines, ""])


def format_section(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of one document's table."""
    lines = [
        "| experiment | parameters | published | obtained | of | images | epochs | seeds | budget "
        "| minutes | verdict | notes |",
        "|---|--:|--:|--:|---|--:|--:|--:|---|--:|---|---|",
    ]
    for one in rows:
        published = "none" if one["published"] is None else f"{one['published']:.4f}"
        if "obtained" not in one:
            cells = [
                one["experiment"],
                "",
                published,
                "",
                one["of"],
                "",
                "",
                "",
                "",
                one["expected_minutes"],
                one["verdict"],
            ]
        else:
            same = (
                "✓"
                if one["parameters"] == one["parameters_published"]
                else f"(published: {one['parameters_published']:,})"
            )
            spread = "" if one["spread"] is None else f" (sd of seeds {one['spread']:.4f})"
            cells = [
                one["experiment"],
                f"{one['parameters']:,} {same}",
                published,
                f"{one['obtained']:.4f} ± {one['standard_error']:.4f}{spread}",
                one["of"],
                f"{one['training_images']:,}",
                one["epochs"],
                one["seeds"],
                one["budget"],
                one["expected_minutes"],
                one["verdict"],
            ]
        lines.append(f"| {' | '.join(map(str, [*cells, one['notes']]))} |")
    return lines


def main() -> None:
    _, replications = options.load()
    entries, documents = replications.experiments, options.documents()
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
    files.write_text(options.FOLDER / "table.md", format_table(rows))
    charts.save(
        figures.draw_published_and_obtained([one for one in rows if one["document"] != OWN]),
        options.FOLDER / "published_and_obtained.png",
    )
    charts.save(figures.draw_losses(), options.FOLDER / "losses.png")
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
            charts.save(figures.draw_curves_of_document(title, curves), folder / f"{document}.png")
    print(f"{len(results)} of {len(entries)} experiments and recipes have run")


if __name__ == "__main__":
    cli.run(main, __doc__)
