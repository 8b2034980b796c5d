"""Judge whether two test accuracies differ by more than chance.

Two sources of chance make the accuracies of two trainings differ. Another seed gives another
network: the spread over seeds, sd, measured by ``commands.seed_spread``. And other test images
would have given other accuracies: for two networks that classify the same n images, b of them right
only by the first and c only by the second, the difference (c - b) / n has the variance
(b + c - (c - b)² / n) / n² (the paired test-set variance, as in McNemar's test). So

    noise² = sd_old² + sd_new² + (b + c - (c - b)² / n) / n²

with the sd of the model itself, or of its nearest sibling. k seeds estimate a variance only
roughly, with k - 1 degrees of freedom, so it is averaged with the mean variance of all measured
models (the moderated variance of Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004, with equal weights).
The ratio difference / noise is judged by Student's t distribution with the degrees of freedom of
Welch and Satterthwaite: noise² is the sum of the contributions of each measured variance, to one
side or both, and of the test-set term, which counts as known. The spread over seeds is measured on
the test set and already contains part of its error, so the noise is too large rather than too
small.

Equal weights suit models with similar spreads. The noise of a model with a larger spread than the
others is underestimated: of changes without effect in a single model with twice their spread, 16 %
instead of 10 % are called better or worse; with three times their spread, 18 % (simulated with six
models and five seeds, without a test-set term; with similar spreads 5 to 10 %, for two to six
models and two to five seeds). Weights estimated from the variances themselves, as in the paper,
make that worse: six models are too few.

If the spread was not measured on the data set, it is assumed: `ASSUMED` times the binomial standard
error of the test accuracy, with the degrees of freedom of five seeds. Of 14 networks on four data
sets whose spread was measured (three to five seeds, 4,000 or 10,000 test images), it was 0 to 1.3
standard errors in 13, and 3.1 in one, whose trainings sometimes fail.

McNemar's test alone only asks whether two *prediction files* differ; those of two seeds often do.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd
import scipy  # loads scipy.stats, half a second, only on first use

from stages.metrics import scores
from stages.metrics.welch import count_freedom

ASSUMED, ASSUMED_FREEDOM = 1.5, 4
BETTER, WORSE, CHANCE = "better", "worse", "no difference larger than chance"
SAME, NOT_JUDGED = "the same predictions", "not judged"


@dataclass(frozen=True)
class Spread:
    """The spread of a test accuracy over seeds."""

    parts: dict[str | None, float]  # of its variance, by the model measured; None: assumed
    freedom: int  # degrees of freedom of each part
    of: str | None  # the model that it was measured on; None if it is assumed

    @property
    def sd(self) -> float:
        return math.sqrt(sum(self.parts.values()))


def find_spread(name: str, training: dict[str, Any], seed_spread: dict[str, Any]) -> Spread:
    """The moderated spread of a model, from the content of seed_spread.json: its own, else that
    of the model in its family (if there is none, of any model) whose number of parameters is
    nearest in proportion. `training`: the content of its training.json."""
    measured = seed_spread["models"]
    if name not in measured:
        family, size = training["architecture"]["family"], training["parameters"]["total"]
        siblings = [model for model in measured if measured[model]["family"] == family]
        name = min(
            siblings or measured,
            key=lambda model: abs(math.log(measured[model]["parameters"] / size)),
        )
    variances = {model: entry["test_accuracy"]["sd"] ** 2 for model, entry in measured.items()}
    parts = {model: variance / (2 * len(variances)) for model, variance in variances.items()}
    parts[name] += variances[name] / 2
    return Spread(parts, seed_spread["n"] - 1, name)


def assume_spread(predictions: pd.DataFrame) -> Spread:
    """The assumed spread of a model, from its predictions.csv, if none was measured on its data."""
    images = len(predictions)
    right = int((predictions["actual"] == predictions["predicted"]).sum())
    accuracy = (right + 1) / (images + 2)  # not 0 or 1 (Laplace's rule of succession)
    error = scores.estimate_standard_error(accuracy, images)
    return Spread({None: (ASSUMED * error) ** 2}, ASSUMED_FREEDOM, None)


@dataclass(frozen=True)
class Difference:
    """The difference of two test accuracies, new minus old, with its noise."""

    difference: float
    only_old: int  # images that only the old network classifies right
    only_new: int
    images: int
    noise: float  # standard deviation of the difference under the null hypothesis
    freedom: float  # degrees of freedom of the noise

    @property
    def p(self) -> float:
        """The two-sided p-value, not corrected for multiple comparisons."""
        return (
            float(2 * scipy.stats.t.sf(abs(self.difference) / self.noise, self.freedom))
            if self.noise
            else float(self.difference == 0)
        )

    @property
    def mcnemar(self) -> float:
        """The exact p-value of McNemar's test, on the two prediction files, not on the two ways to
        train."""
        discordant = self.only_old + self.only_new
        return float(scipy.stats.binomtest(self.only_old, discordant).pvalue) if discordant else 1.0


def measure(old: pd.DataFrame, new: pd.DataFrame, spreads: tuple[Spread, Spread]) -> Difference:
    """The difference of two predictions.csv for the same test images."""
    right = [(table["actual"] == table["predicted"]).to_numpy() for table in (old, new)]
    only_old, only_new = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return combine(only_old, only_new, len(old), spreads)


def combine(
    only_old: int, only_new: int, images: int, spreads: tuple[Spread, Spread]
) -> Difference:
    """The difference of two networks; of the test `images`, `only_old` are classified right by the
    old one alone, and `only_new` by the new one alone."""
    difference = (only_new - only_old) / images
    test_set_variance = (only_old + only_new - images * difference**2) / images**2
    parts, freedoms = Counter(), {}
    for spread in spreads:
        parts.update(spread.parts)  # one estimate, or one assumption, may serve both sides
        freedoms |= dict.fromkeys(spread.parts, spread.freedom)
    variance = sum(parts.values()) + test_set_variance
    freedom = count_freedom([(parts[model], freedoms[model]) for model in parts], variance)
    return Difference(difference, only_old, only_new, images, math.sqrt(variance), freedom)


def judge(differences: list[Difference], rate: float) -> list[tuple[str, float]]:
    """*better*, *worse* or *no difference larger than chance* for each, with its p-value corrected
    for multiple comparisons (Benjamini and Hochberg): if nothing has changed and spreads are
    similar, at most a share `rate` of reviews calls any model better or worse."""
    if not differences:
        return []
    corrected = scipy.stats.false_discovery_control([measured.p for measured in differences])
    return [
        (CHANCE if p > rate else BETTER if measured.difference > 0 else WORSE, float(p))
        for measured, p in zip(differences, corrected)
    ]
