"""Stage table of the replications: published against obtained, a row an experiment.

Reads ``result.json`` and ``curves.csv`` in ``replications/results/*/``,
``replications/params.yaml``, ``published.yaml`` and ``published_curves.csv``; writes into
``replications/`` ``table.csv``, ``table.md``, ``published_and_obtained.png``, ``losses.png``, and
``curves/EXPERIMENT.png`` and ``curves/DOCUMENT.png`` for each experiment and document. An
experiment that has not run yet has a row that says so.

The verdict is a test of the difference at the level of 5 %, two-sided: ``within noise`` is what
`estimate_noise` gives, or less.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from stages.drawing import charts
from stages.metrics.scores import estimate_standard_error
from stages.metrics.welch import count_freedom
from stages.replications import formatting, options, overview
from stages.runtime import cli
from stages.storage import files

RESULTS = options.FOLDER / "results"
ROUNDING = 0.5e-4 + 1e-9  # published accuracies have four decimals
RECIPES, VARIATIONS = "recipes", "variations"
# these "documents" are our own: sections of their own, and not in the picture
TITLES = {
    RECIPES: "Our own recipes",
    VARIATIONS: "The documents' experiments with one change",
}


class Spread(NamedTuple):
    """How much the accuracy of an experiment differs between seeds: the standard deviation, and the
    degrees of freedom of this estimate."""

    deviation: float
    freedom: int


class Spreads(NamedTuple):
    """The spread of our runs, and that of the document's; None where it is not known."""

    ours: Spread | None
    theirs: Spread | None


def measure_spreads(
    results: dict[str, dict[str, Any]],
    documents: dict[str, options.Facts],
    datasets: dict[str, str],
) -> dict[str, Spreads]:
    """The spreads over seeds of each experiment. Ours is its own with three seeds or more, else
    that of the experiments on its data set that have three, pooled, recipes of our own apart, with
    their variations. Of the document's run it is the same, since the network is; but what a recipe
    is compared with is another network, one of the document's."""
    own = {}
    for name, result in results.items():
        obtained = [one["obtained"] for one in result["seeds"].values()]
        if len(obtained) >= 3 and not is_reduced(result):
            own[name] = Spread(float(np.std(obtained, ddof=1)), len(obtained) - 1)
    origins = {name: find_origin(name, documents) for name in datasets}
    groups = {
        name: (datasets[name], documents[origin].document == RECIPES)
        for name, origin in origins.items()
    }
    # networks of which each seed learns nothing say nothing of others
    lent = {name: one for name, one in own.items() if one.deviation > ROUNDING}
    pooled = {
        group: pool_spreads([one for name, one in lent.items() if groups[name] == group])
        for dataset in datasets.values()
        for group in ((dataset, True), (dataset, False))
    }
    found = {}
    for name, group in groups.items():
        ours = own.get(name, pooled[group])
        found[name] = Spreads(ours, pooled[group[0], False] if group[1] else ours)
    return found


def pool_spreads(spreads: list[Spread]) -> Spread | None:
    """The root mean square of the deviations, by their degrees of freedom."""
    if not spreads:
        return None
    freedom = sum(one.freedom for one in spreads)
    square = sum(one.freedom * one.deviation**2 for one in spreads) / freedom
    return Spread(math.sqrt(square), freedom)


def is_reduced(result: dict[str, Any]) -> bool:
    """Whether a run had a reduced budget, whatever params.yaml allows now."""
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
    mean = sum(one["obtained"] for one in seeds) / len(seeds)
    images = seeds[0][published.of]["images"]
    reduced = is_reduced(result)
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
    words = judge_replication(published.accuracy, mean, noise, reduced)
    return common | {"noise": noise, "verdict": words}


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


def estimate_noise(
    published: options.Published, mean: float, images: int, seeds: int, spreads: Spreads
) -> float:
    """The difference between the published accuracy and ours, `mean` of so many `seeds`, each on so
    many `images`, that chance exceeds once in twenty times.

    Chance is the seed, which counts once for the document's run and through their number for ours;
    and the choice of the test images, once for each run. As many images are the same ones, unless
    `published` says otherwise, since parts are cut as the documents cut them: then the spread over
    seeds, which is measured on them, is all there is, where it is known of both. Spreads are
    estimated with few degrees of freedom:
    hence Student's t, with those of Welch and Satterthwaite for the sum. With a spread that is
    borrowed from others, once in twenty times holds only as far as this experiment's is like
    theirs: if its own is twice as large, chance exceeds the noise once in four times (by
    simulation). Of the document's run only the accuracy is known: what both networks predict for
    each image, as the review of two runs of ours compares it, is not."""
    ours, theirs = spreads
    if ours and ours == theirs:  # one estimate, used twice
        of_seeds = [(ours.deviation**2 * (1 + 1 / seeds), ours.freedom)]
    else:
        shares = ((ours, 1 / seeds), (theirs, 1))
        of_seeds = [(one.deviation**2 * share, one.freedom) for one, share in shares if one]
    variance = sum(square for square, _ in of_seeds)
    same = published.same_images and images == published.images
    if not (same and ours and theirs):
        variance += estimate_standard_error(published.accuracy, published.images) ** 2
        variance += estimate_standard_error(mean, images) ** 2
    freedom = count_freedom(of_seeds, variance)
    return ROUNDING + float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)


def judge_replication(
    published: float | None, obtained: float, noise: float | None, reduced: bool
) -> str:
    """In words, whether the published accuracy was obtained again; `noise` is None where nothing is
    published, or the budget was reduced."""
    if published is None:
        return "nothing published"
    if reduced:
        return "reduced budget"
    if abs(obtained - published) <= noise:
        return "within noise"
    return "above" if obtained > published else "below"


def find_origin(name: str, documents: dict[str, options.Facts]) -> str:
    """The experiment that a variation varies, whose name its own begins with; of any other
    experiment itself."""
    if documents[name].document != VARIATIONS:
        return name
    others = [one for one, facts in documents.items() if facts.document != VARIATIONS]
    return max((one for one in others if name.startswith(f"{one}-")), key=len, default=name)


def add_variations(curves: pd.DataFrame, documents: dict[str, options.Facts]) -> pd.DataFrame:
    """What the documents print of their epochs, with the curves of an experiment also for its
    variations, whose names begin with its own."""
    more = [
        curves[curves["experiment"] == find_origin(name, documents)].assign(experiment=name)
        for name, facts in documents.items()
        if facts.document == VARIATIONS
    ]
    return pd.concat([curves, *more])


def main() -> None:
    _, replications = options.load()
    entries, documents = replications.experiments, options.documents(replications.experiments)
    results = {
        name: files.read_json(RESULTS / name / "result.json")
        for name in entries
        if (RESULTS / name / "result.json").exists()
    }
    datasets = {name: replications.variants[one.variant].dataset for name, one in entries.items()}
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
            [one for one in rows if one["document"] not in TITLES]
        ),
        options.FOLDER / "published_and_obtained.png",
    )
    charts.save(overview.draw_losses(), options.FOLDER / "losses.png")
    published_curves = add_variations(options.read_published_curves(), documents)
    with files.replacing(options.FOLDER / "curves") as folder:
        folder.mkdir()
        curves_of = {name: pd.read_csv(RESULTS / name / "curves.csv") for name in results}
        for name, curves in curves_of.items():
            printed = published_curves[published_curves["experiment"] == name]
            charts.save(overview.draw_curves(name, curves, printed), folder / f"{name}.png")
        for document in dict.fromkeys(documents[name].document for name in results):
            ran = [name for name in results if documents[name].document == document]
            curves = pd.concat(curves_of[name] for name in ran)
            title = TITLES.get(document, f"{document}: the document's experiments, run again")
            printed = published_curves[published_curves["experiment"].isin(ran)]
            charts.save(
                overview.draw_curves_of_document(title, curves, printed),
                folder / f"{document}.png",
            )
    print(f"{len(results)} of {len(entries)} experiments and recipes have run")


if __name__ == "__main__":
    cli.run(main, __doc__)
