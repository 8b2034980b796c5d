"""Whether two test accuracies differ by more than chance.

Two things make the accuracies of two trainings differ when nothing else does. Another seed gives
another network: the spread over seeds, sd, measured by ``commands.seed_spread``. And other test
images would have given other accuracies: for two networks that classify the same n images, of which
b are right only in the first and c only in the second, the difference (c - b) / n has the variance
(b + c - (c - b)² / n) / n² (the paired test-set variance, that of McNemar's test). So

    noise² = sd_old² + sd_new² + (b + c - (c - b)² / n) / n²

with the sd of the model itself, or of its nearest sibling. k seeds tell a variance only roughly,
with k - 1 degrees of freedom. So it is moderated by the other models: averaged with the mean
variance of all that were measured (the moderated variance of Smyth, Stat. Appl. Genet. Mol. Biol.
3, 2004, with equal weights). The ratio difference / noise is judged by Student's t distribution
with the degrees of freedom of Welch and Satterthwaite: noise² is a sum of what each measured
variance contributes to it, to one side or both, and of the test set's term, which counts as known.
The spread over seeds is measured on the test set and holds some of its error already: the noise is
rather too large than too small.

Equal weights suit models whose spreads are alike. The noise of a model with a larger spread than
the others is taken too small: of changes that change nothing in a single model with twice their
spread, 16 % instead of 10 % are called better or worse, with three times 18 % (simulated with six
models and five seeds, without a test set's term; with spreads alike 5 to 10 %, for two to six
models and two to five seeds). Weights estimated from the variances themselves, as the paper does,
make that worse: six models are too few.

Where nobody measured the spread on the data set, it is assumed: `ASSUMED` times the binomial
standard error of the test accuracy, with the degrees of freedom of five seeds. Of 14 networks on
four data sets whose spread was measured (three to five seeds, 4,000 or 10,000 test images), it was
0 to 1.3 standard errors in 13, and 3.1 in one, whose trainings sometimes fail.

McNemar's test alone asks only whether two *prediction files* differ; two seeds often do.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy  # which loads scipy.stats, half a second, where that is used

from stages.metrics import scores
from stages.metrics.welch import count_freedom

ASSUMED, ASSUMED_FREEDOM = 1.5, 4
BETTER, WORSE, CHANCE = "better", "worse", "no difference larger than chance"
SAME, NOT_JUDGED = "the same predictions", "not judged"


@dataclass(frozen=True)
class Spread:
    """The spread of a test accuracy over seeds."""

    parts: dict[str | None, float]  # of its variance: by the model that measured it; None: assumed
    freedom: int  # degrees of freedom of each part
    of: str | None  # the model that it was measured on; None where it is assumed

    @property
    def sd(self) -> float:
        return math.sqrt(sum(self.parts.values()))


def find_spread(name: str, training: dict[str, Any], content: dict[str, Any]) -> Spread:
    """The moderated spread of a model, from the content of seed_spread.json: its own, else that of
    the model of its family, else of all, whose number of parameters is nearest in proportion.
    `training` is the model's training.json."""
    measured = content["models"]
    if name not in measured:
        family, size = training["architecture"]["family"], training["parameters"]["total"]
        siblings = [one for one in measured if measured[one]["family"] == family] or list(measured)
        name = min(siblings, key=lambda one: abs(np.log(measured[one]["parameters"] / size)))
    variances = {one: measured[one]["test_accuracy"]["sd"] ** 2 for one in measured}
    parts = {one: variance / (2 * len(variances)) for one, variance in variances.items()}
    parts[name] += variances[name] / 2
    return Spread(parts, content["n"] - 1, name)


def assume_spread(predictions: pd.DataFrame) -> Spread:
    """The spread of a model on whose data none was measured, from its predictions.csv."""
    images = len(predictions)
    right = int((predictions["actual"] == predictions["predicted"]).sum())
    accuracy = (right + 1) / (images + 2)  # not 0 or 1 (Laplace's rule of succession)
    error = scores.estimate_standard_error(accuracy, images)
    return Spread({None: (ASSUMED * error) ** 2}, ASSUMED_FREEDOM, None)


@dataclass(frozen=True)
class Difference:
    """Of two test accuracies, the new one less the old one, with its noise."""

    difference: float
    only_old: int  # images that only the old network classifies right
    only_new: int
    images: int
    noise: float  # one standard deviation of the difference, were there none
    freedom: float  # degrees of freedom of the noise

    @property
    def p(self) -> float:
        """How often chance alone would give a difference as large, in either direction."""
        return (
            float(2 * scipy.stats.t.sf(abs(self.difference) / self.noise, self.freedom))
            if self.noise
            else float(self.difference == 0)
        )

    @property
    def mcnemar(self) -> float:
        """The exact p of McNemar's test: of the two prediction files, not of
        the two ways to train."""
        both = self.only_old + self.only_new
        return float(scipy.stats.binomtest(self.only_old, both).pvalue) if both else 1.0


def measure(old: pd.DataFrame, new: pd.DataFrame, spreads: tuple[Spread, Spread]) -> Difference:
    """The difference of two predictions.csv of the same test images."""
    right = [(table["actual"] == table["predicted"]).to_numpy() for table in (old, new)]
    only_old, only_new = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return combine(only_old, only_new, len(old), spreads)


def combine(
    only_old: int, only_new: int, images: int, spreads: tuple[Spread, Spread]
) -> Difference:
    """The difference of two networks, of which one alone classifies `only_old` and the other alone
    `only_new` of the test `images` right."""
    found = (only_new - only_old) / images
    of_test_set = (only_old + only_new - images * found**2) / images**2
    parts, freedoms = Counter(), {}
    for spread in spreads:
        parts.update(spread.parts)  # one estimate, or one assumption, may serve both sides
        freedoms |= dict.fromkeys(spread.parts, spread.freedom)
    variance = sum(parts.values()) + of_test_set
    freedom = count_freedom([(parts[one], freedoms[one]) for one in parts], variance)
    return Difference(found, only_old, only_new, images, float(np.sqrt(variance)), freedom)


def judge(differences: list[Difference], rate: float) -> list[tuple[str, float]]:
    """*better*, *worse* or *no difference larger than chance* for each, with its p after the
    correction of Benjamini and Hochberg for looking at several models: where nothing has changed
    and spreads are alike, a share `rate` of reviews at most says otherwise of any model."""
    if not differences:
        return []
    corrected = scipy.stats.false_discovery_control([one.p for one in differences])
    return [
        (CHANCE if p > rate else BETTER if one.difference > 0 else WORSE, float(p))
        for one, p in zip(differences, corrected)
    ]
