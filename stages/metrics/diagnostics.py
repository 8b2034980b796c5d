"""What the reports draw of one model's predictions of the test set: confusion, ROC and
calibration, as tables.

`probabilities` is float (images, classes), `labels` int (images,) with class numbers, `names` lists
the classes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn import metrics

HARDEST = 3  # classes whose ROC is drawn: those with the least area under it
FALSE_POSITIVE_RATES = np.concatenate(
    [[0.0], np.geomspace(0.001, 1, 79)]
)  # where ROC curves are read: densely at the left


Curve = tuple[np.ndarray, np.ndarray]  # false and true positive rates


@dataclass(frozen=True)
class Curves:
    """The ROC curves of a part, one-vs-rest: that of each class by its number, where it has one;
    and micro, that of all decisions together. Of 10,000 images a class takes about 2 ms."""

    classes: dict[int, Curve]
    micro: Curve
    areas: np.ndarray  # float (classes,); NaN for a class without a curve


def tabulate_confusion(labels: np.ndarray, predicted: np.ndarray, names: list[str]) -> pd.DataFrame:
    """The cells of the confusion matrix: actual, predicted, images, share (of the actual class's
    images).

    The diagonal comes first and is whole, so that classes appear in their order; of the other cells
    those with images.
    """
    classes = np.arange(len(names))
    right = labels == predicted
    off_diagonal, many = np.unique(
        labels[~right] * len(names) + predicted[~right], return_counts=True
    )
    actual = np.concatenate([classes, off_diagonal // len(names)])
    given = np.concatenate([classes, off_diagonal % len(names)])
    images = np.concatenate([np.bincount(labels[right], minlength=len(names)), many])
    share = images / np.maximum(np.bincount(labels, minlength=len(names)), 1)[actual]
    names = np.asarray(names)
    return pd.DataFrame(
        {"actual": names[actual], "predicted": names[given], "images": images, "share": share}
    )


def compute_curves(probabilities: np.ndarray, labels: np.ndarray) -> Curves:
    """All ROC curves of a part. A class that has no images, or all of them, has none."""
    classes = compute_class_curves(probabilities, labels)
    areas = np.full(probabilities.shape[1], np.nan)
    for number, rates in classes.items():
        areas[number] = metrics.auc(*rates)
    return Curves(classes, compute_micro_curve(probabilities, labels), areas)


def compute_class_curves(probabilities: np.ndarray, labels: np.ndarray) -> dict[int, Curve]:
    """False and true positive rates of each class against the rest, by its number; a class that has
    no images, or all of them, has no curve."""
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    return {
        int(number): metrics.roc_curve(labels == number, probabilities[:, number])[:2]
        for number in np.flatnonzero((counts > 0) & (counts < len(labels)))
    }


def compute_micro_curve(probabilities: np.ndarray, labels: np.ndarray) -> Curve:
    """False and true positive rates of all decisions together: each image and class is one.

    These can be very many, so the curve is given by its corners alone: between the probabilities of
    two labels it is level, and nothing but one sorted copy of all decisions is needed."""
    own, decisions = (
        probabilities[np.arange(len(labels)), labels],
        np.sort(probabilities, axis=None),
    )
    thresholds, counts = np.unique(own, return_counts=True)
    thresholds, counts = thresholds[::-1], counts[::-1]
    found = np.cumsum(counts)
    before = found - counts
    above = decisions.size - np.searchsorted(decisions, thresholds, "right") - before
    reached = decisions.size - np.searchsorted(decisions, thresholds, "left") - found
    negatives = decisions.size - len(own)
    false = np.concatenate([[0], np.stack([above, reached], axis=1).ravel(), [negatives]])
    true = np.concatenate([[0], np.stack([before, found], axis=1).ravel(), [len(own)]])
    return false / negatives, true / len(own)


def average_curves(curves: dict[int, Curve], rates: np.ndarray) -> np.ndarray:
    """The macro-averaged ROC curve: the mean of the classes' true positive rates at each of the
    false positive `rates`, read between two points of a curve on the straight line (vertical
    averaging: Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006,
    algorithm 3; a point on that line is reached by choosing between both thresholds at random). The
    area under it is the mean of the classes' areas."""
    return np.mean([np.interp(rates, *curve) for curve in curves.values()], axis=0)


def tabulate_roc(found: Curves, names: list[str]) -> pd.DataFrame:
    """ROC curves, one-vs-rest, at `FALSE_POSITIVE_RATES`: curve, false_positive_rate,
    true_positive_rate.

    ``curve`` is micro (all decisions together), macro (the mean of the classes' curves), or the
    name of one of the `HARDEST`.
    """
    curves = {"micro": np.interp(FALSE_POSITIVE_RATES, *found.micro)}
    if found.classes:
        curves["macro"] = average_curves(found.classes, FALSE_POSITIVE_RATES)
    for number in sorted(found.classes, key=lambda number: found.areas[number])[:HARDEST]:
        curves[f"class {names[number]}"] = np.interp(FALSE_POSITIVE_RATES, *found.classes[number])
    rates = {"false_positive_rate": FALSE_POSITIVE_RATES}
    tables = [
        pd.DataFrame({"curve": name, **rates, "true_positive_rate": curve})
        for name, curve in curves.items()
    ]
    return pd.concat(tables, ignore_index=True)


def tabulate_calibration(confidence: np.ndarray, correct: np.ndarray, bins: int) -> pd.DataFrame:
    """The reliability diagram's bins that hold images: lower, upper, images, mean confidence,
    accuracy.

    `confidence` float (images,) in (0, 1], `correct` bool (images,); `bins` of equal width, as for
    the calibration error.
    """
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    held = np.flatnonzero(images)
    return pd.DataFrame(
        {
            "lower": held / bins,
            "upper": (held + 1) / bins,
            "images": images[held],
            "confidence": np.bincount(bin_of, weights=confidence, minlength=bins)[held]
            / images[held],
            "accuracy": np.bincount(bin_of, weights=correct, minlength=bins)[held] / images[held],
        }
    )
