"""Stage table of the replications: compare published and obtained accuracies, a row per experiment.

Reads ``result.json`` and ``curves.csv`` in ``replications/results/*/``,
``replications/params.yaml``, ``published.yaml`` and ``published_curves.csv``; writes into
``replications/`` ``table.csv``, ``table.md``, ``published_and_obtained.png``, ``losses.png``, and
``curves/EXPERIMENT.png`` and ``curves/DOCUMENT.png`` for each experiment and document. An
experiment that has not run yet has a row that says so.

The verdict is a two-sided test of the difference at the 5 % level: ``within noise`` is a difference
of at most what `estimate_noise` returns.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from stages.drawing import charts
from stages.metrics.scores import estimate_standard_error
from stages.metrics.welch import count_freedom
from stages.replications import formatting, learning_curves, options, overview
from stages.runtime import cli
from stages.storage import files

RESULTS = options.FOLDER / "results"
ROUNDING = 0.5e-4 + 1e-9  # published accuracies have four decimals
RECIPES, VARIATIONS = "recipes", "variations"
# these "documents" are our own: they have sections of their own, and are not in the figure
TITLES = {
    RECIPES: "Our own recipes",
    VARIATIONS: "The documents' experiments with one change",
}


class Spread(NamedTuple):
    """The spread of an experiment's accuracy over seeds: the standard deviation, and the degrees of
    freedom of this estimate."""

    deviation: float
    freedom: int


class Spreads(NamedTuple):
    """The spread of our runs, and that of the document's; None if unknown."""

    ours: Spread | None
    theirs: Spread | None


def measure_spreads(
    results: dict[str, dict[str, Any]],
    documents: dict[str, options.Facts],
    datasets: dict[str, str],
) -> dict[str, Spreads]:
    """The spreads over seeds of each experiment. Ours is its own with three seeds or more, else the
    pooled one of the experiments on its data set that have three; our own recipes, with their
    variations, are pooled separately. The document's run has the same spread, since it has the same
    network; but a recipe is compared with another network, the document's."""
    own = {}
    for name, result in results.items():
        obtained = [metrics["obtained"] for metrics in result["seeds"].values()]
        if len(obtained) >= 3 and not is_reduced(result):
            own[name] = Spread(float(np.std(obtained, ddof=1)), len(obtained) - 1)
    origins = {name: find_origin(name, documents) for name in datasets}
    groups = {
        name: (datasets[name], documents[origin].document == RECIPES)
        for name, origin in origins.items()
    }
    # a network that learns nothing with any seed says nothing about others
    usable = {name: spread for name, spread in own.items() if spread.deviation > ROUNDING}
    pooled = {
        group: pool_spreads([spread for name, spread in usable.items() if groups[name] == group])
        for dataset in datasets.values()
        for group in ((dataset, True), (dataset, False))
    }
    spreads = {}
    for name, group in groups.items():
        ours = own.get(name, pooled[group])
        spreads[name] = Spreads(ours, pooled[group[0], False] if group[1] else ours)
    return spreads


def pool_spreads(spreads: list[Spread]) -> Spread | None:
    """The pooled standard deviation, weighted by degrees of freedom; None without any."""
    if not spreads:
        return None
    freedom = sum(spread.freedom for spread in spreads)
    variance = sum(spread.freedom * spread.deviation**2 for spread in spreads) / freedom
    return Spread(math.sqrt(variance), freedom)


def is_reduced(result: dict[str, Any]) -> bool:
    """Whether the run had a reduced budget, whatever params.yaml says now."""
    return any(value is not None for value in result["parameters"]["budget"].values())


def build_row(
    name: str,
    facts: options.Facts,
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
        "spread": spreads.ours.deviation if len(seeds) >= 3 and not reduced else None,
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
    facts: options.Facts,
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


def estimate_noise(
    published: options.Published, mean: float, images: int, seeds: int, spreads: Spreads
) -> float:
    """The difference between the published accuracy and ours, the `mean` over `seeds` seeds, each
    measured on `images` images, that chance exceeds with probability 5 %.

    Chance is the seed, with full variance for the document's run and divided by the number of seeds
    for ours; and the sampling of the test images, once for each run. Equally many images are the
    same ones, unless `published` says otherwise, since parts are split as in the documents: then
    the spread over seeds, which is measured on them, is all, if it is known for both. Spreads are
    estimated with few degrees of freedom: hence Student's t, with those of Welch and Satterthwaite
    for the sum. With a spread borrowed from other experiments, 5 % holds only if this one's is
    similar: if it is twice as large, chance exceeds the noise with probability 24 % (by
    simulation, with four degrees of freedom). Of the document's run only the accuracy is known, not
    the predictions for each image, which the review compares for two runs of ours."""
    ours, theirs = spreads
    if ours and ours == theirs:  # one estimate, used twice
        variances = [(ours.deviation**2 * (1 + 1 / seeds), ours.freedom)]
    else:
        shares = ((ours, 1 / seeds), (theirs, 1))
        variances = [
            (spread.deviation**2 * share, spread.freedom) for spread, share in shares if spread
        ]
    variance = sum(square for square, _ in variances)
    same_images = published.same_images and images == published.images
    if not (same_images and ours and theirs):
        variance += estimate_standard_error(published.accuracy, published.images) ** 2
        variance += estimate_standard_error(mean, images) ** 2
    freedom = count_freedom(variances, variance)
    return ROUNDING + float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)


def judge_replication(
    published: float | None, obtained: float, noise: float | None, reduced: bool
) -> str:
    """The verdict on whether the published accuracy was reproduced; `noise` is None if nothing is
    published, or the budget was reduced."""
    if published is None:
        return "nothing published"
    if reduced:
        return "reduced budget"
    if abs(obtained - published) <= noise:
        return "within noise"
    return "above" if obtained > published else "below"


def find_origin(name: str, documents: dict[str, options.Facts]) -> str:
    """The experiment that a variation is based on, whose name is a prefix of its own; for any other
    experiment, itself."""
    if documents[name].document != VARIATIONS:
        return name
    others = [other for other, facts in documents.items() if facts.document != VARIATIONS]
    return max((other for other in others if name.startswith(f"{other}-")), key=len, default=name)


def add_variations(curves: pd.DataFrame, documents: dict[str, options.Facts]) -> pd.DataFrame:
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
    documents: dict[str, options.Facts],
    folder: Path,
) -> None:
    """Write the learning curves of each experiment into `folder`, and those of each document, where
    experiments on a reduced budget are left out, and one that continues another begins after it."""
    published = add_variations(options.read_published_curves(), documents)
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


def count_earlier_epochs(entry: options.Entry, documents: dict[str, options.Facts]) -> int:
    """The epochs, in the document, of the experiment that this one continues; 0 if it continues
    none."""
    start = Path(entry.starts_from)
    return documents[start.name].trained.epochs if start.parent.name == "trained" else 0


def main() -> None:
    _, replications = options.load()
    entries, documents = replications.experiments, options.documents(replications.experiments)
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
        build_row(
            name,
            documents[name],
            entry,
            datasets[name],
            results.get(name),
            spreads[name],
        )
        for name, entry in entries.items()
    ]
    files.write_csv(pd.DataFrame(rows).round(6), options.FOLDER / "table.csv")
    files.write_text(options.FOLDER / "table.md", formatting.format_table(rows))
    charts.save(
        overview.draw_published_and_obtained(
            [row for row in rows if row["document"] not in TITLES]
        ),
        options.FOLDER / "published_and_obtained.png",
    )
    charts.save(overview.draw_losses(), options.FOLDER / "losses.png")
    with files.replacing(options.FOLDER / "curves") as folder:
        folder.mkdir()
        draw_all_curves(results, entries, documents, folder)
    print(f"{len(results)} of {len(entries)} experiments and recipes have run")


if __name__ == "__main__":
    cli.run(main, __doc__)
