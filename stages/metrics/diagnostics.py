"""Diagnostics of one model's predictions, as the tables that the reports draw: confusion matrix,
ROC curves and calibration.

`probabilities` is float (images, classes), `labels` int (images,) with class numbers, `names` lists
the classes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn import metrics

HARDEST = 3  # classes whose ROC curve is drawn: those with the smallest area under it
# where ROC curves are sampled: densely at the left
FALSE_POSITIVE_RATES = np.concatenate([[0.0], np.geomspace(0.001, 1, 79)])

Curve = tuple[np.ndarray, np.ndarray]  # false and true positive rates


@dataclass(frozen=True)
class Curves:
    """One-vs-rest ROC curves: of each class by its number, if it has one; and micro, over all
    decisions. A class takes about 2 ms for 10,000 images."""

    classes: dict[int, Curve]
    micro: Curve
    areas: np.ndarray  # float (classes,); NaN for a class without a curve


def tabulate_confusion(labels: np.ndarray, predicted: np.ndarray, names: list[str]) -> pd.DataFrame:
    """The cells of the confusion matrix: actual, predicted, images, share (of the actual class's
    images).

    The complete diagonal comes first, so that classes appear in their order; then the other cells
    that have images.
    """
    classes = np.arange(len(names))
    correct = labels == predicted
    off_diagonal, mistakes = np.unique(
        labels[~correct] * len(names) + predicted[~correct], return_counts=True
    )
    rows = np.concatenate([classes, off_diagonal // len(names)])
    columns = np.concatenate([classes, off_diagonal % len(names)])
    images = np.concatenate([np.bincount(labels[correct], minlength=len(names)), mistakes])
    share = images / np.maximum(np.bincount(labels, minlength=len(names)), 1)[rows]
    names = np.asarray(names)
    return pd.DataFrame(
        {"actual": names[rows], "predicted": names[columns], "images": images, "share": share}
    )


def compute_curves(probabilities: np.ndarray, labels: np.ndarray) -> Curves:
    """All ROC curves. A class with no images, or with all of them, has none."""
    classes = compute_class_curves(probabilities, labels)
    areas = np.full(probabilities.shape[1], np.nan)
    for number, rates in classes.items():
        areas[number] = metrics.auc(*rates)
    return Curves(classes, compute_micro_curve(probabilities, labels), areas)


def compute_class_curves(probabilities: np.ndarray, labels: np.ndarray) -> dict[int, Curve]:
    """The ROC curve of each class against the rest, by its number; a class with no images, or with
    all of them, has none."""
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    return {
        int(number): metrics.roc_curve(labels == number, probabilities[:, number])[:2]
        for number in np.flatnonzero((counts > 0) & (counts < len(labels)))
    }


def compute_micro_curve(probabilities: np.ndarray, labels: np.ndarray) -> Curve:
    """The micro-averaged ROC curve, over all decisions: one for each image and class.

    There can be very many, so only the corners of the curve are computed: between the probabilities
    of two labels it is flat, and a single sorted copy of all probabilities suffices."""
    positives = probabilities[np.arange(len(labels)), labels]
    decisions = np.sort(probabilities, axis=None)
    thresholds, counts = np.unique(positives, return_counts=True)
    thresholds, counts = thresholds[::-1], counts[::-1]
    true_reached = np.cumsum(counts)  # with at least the threshold
    true_above = true_reached - counts
    false_above = decisions.size - np.searchsorted(decisions, thresholds, "right") - true_above
    false_reached = decisions.size - np.searchsorted(decisions, thresholds, "left") - true_reached
    negatives = decisions.size - len(positives)
    false = np.concatenate(
        [[0], np.stack([false_above, false_reached], axis=1).ravel(), [negatives]]
    )
    true = np.concatenate(
        [[0], np.stack([true_above, true_reached], axis=1).ravel(), [len(positives)]]
    )
    return false / negatives, true / len(positives)


def average_curves(curves: dict[int, Curve], rates: np.ndarray) -> np.ndarray:
    """The macro-averaged ROC curve: the mean of the classes' true positive rates at each of the
    false positive `rates`, interpolated linearly (vertical averaging: Fawcett, An introduction to
    ROC analysis, Pattern Recognition Letters 27, 2006, algorithm 3; choosing between two thresholds
    at random attains the points between them). The area under it is the mean of the classes'
    areas."""
    return np.mean([np.interp(rates, *curve) for curve in curves.values()], axis=0)


def tabulate_roc(curves: Curves, names: list[str]) -> pd.DataFrame:
    """One-vs-rest ROC curves at `FALSE_POSITIVE_RATES`: curve, false_positive_rate,
    true_positive_rate.

    ``curve`` is micro (over all decisions), macro (the mean of the classes' curves), or the name of
    one of the `HARDEST` classes.
    """
    sampled = {"micro": np.interp(FALSE_POSITIVE_RATES, *curves.micro)}
    if curves.classes:
        sampled["macro"] = average_curves(curves.classes, FALSE_POSITIVE_RATES)
    for number in sorted(curves.classes, key=lambda number: curves.areas[number])[:HARDEST]:
        sampled[f"class {names[number]}"] = np.interp(FALSE_POSITIVE_RATES, *curves.classes[number])
    rates = {"false_positive_rate": FALSE_POSITIVE_RATES}
    tables = [
        pd.DataFrame({"curve": name, **rates, "true_positive_rate": true_positive_rates})
        for name, true_positive_rates in sampled.items()
    ]
    return pd.concat(tables, ignore_index=True)


def tabulate_calibration(confidence: np.ndarray, correct: np.ndarray, bins: int) -> pd.DataFrame:
    """The non-empty bins of the reliability diagram: lower, upper, images, confidence (the mean),
    accuracy.

    `confidence` is float (images,) in (0, 1], `correct` bool (images,); all `bins` have equal
    width.
    """
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    filled = np.flatnonzero(images)
    return pd.DataFrame(
        {
            "lower": filled / bins,
            "upper": (filled + 1) / bins,
            "images": images[filled],
            "confidence": np.bincount(bin_of, weights=confidence, minlength=bins)[filled]
            / images[filled],
            "accuracy": np.bincount(bin_of, weights=correct, minlength=bins)[filled]
            / images[filled],
        }
    )
