"""Whether an experiment's published accuracy was reproduced: a two-sided test of the difference at
the 5 % level, where ``within noise`` is a difference of at most what `estimate_noise` returns."""

import math
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from stages.metrics.scores import estimate_standard_error
from stages.metrics.welch import count_freedom
from stages.replications import publications

ROUNDING = 0.5e-4 + 1e-9  # published accuracies have four decimals
RECIPES, VARIATIONS = "recipes", "variations"


class Spread(NamedTuple):
    """The spread of an experiment's accuracy over seeds: the standard deviation, and the degrees of
    freedom of this estimate."""

    deviation: float
    freedom: int


class Spreads(NamedTuple):
    """The spread of our runs, and that of the document's; None if unknown. `own` is ours if it was
    measured on this experiment's seeds, not borrowed from others."""

    ours: Spread | None
    theirs: Spread | None
    own: Spread | None = None


def measure_spreads(
    results: dict[str, dict[str, Any]],
    documents: dict[str, publications.Facts],
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
    groups = {
        name: (dataset, documents[find_origin(name, documents)].document == RECIPES)
        for name, dataset in datasets.items()
    }
    to_pool = defaultdict(list)
    for name, spread in own.items():
        # a network that learns nothing with any seed says nothing about others
        if spread.deviation > ROUNDING:
            to_pool[groups[name]].append(spread)
    spreads = {}
    for name, (dataset, is_recipe) in groups.items():
        ours = own.get(name) or pool_spreads(to_pool[dataset, is_recipe])
        theirs = pool_spreads(to_pool[dataset, False]) if is_recipe else ours
        spreads[name] = Spreads(ours, theirs, own.get(name))
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


def find_origin(name: str, documents: dict[str, publications.Facts]) -> str:
    """The experiment that a variation is based on, whose name is a prefix of its own; for any other
    experiment, itself."""
    if documents[name].document != VARIATIONS:
        return name
    others = [other for other, facts in documents.items() if facts.document != VARIATIONS]
    return max((other for other in others if name.startswith(f"{other}-")), key=len, default=name)


def estimate_noise(
    published: publications.Published, mean: float, images: int, seeds: int, spreads: Spreads
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
    ours, theirs, _ = spreads
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
