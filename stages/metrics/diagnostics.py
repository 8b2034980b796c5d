"""What the reports draw of one model's predictions of the test part: confusion, ROC and
calibration, as tables.

`probabilities` is float (images, classes), `labels` int (images,) with class numbers, `names` lists
the classes.
"""

import numpy as np
import pandas as pd
from sklearn import metrics

HARDEST = 3  # classes whose ROC is drawn: those with the least area under it
FALSE_POSITIVE_RATES = np.concatenate(
    [[0.0], np.geomspace(0.001, 1, 79)]
)  # where ROC curves are read: densely at the left


def confusion(labels: np.ndarray, predicted: np.ndarray, names: list[str]) -> pd.DataFrame:
    """The cells of the confusion matrix: actual, predicted, images, share (of the actual class's
    images).

    The diagonal comes first and is whole, so that classes appear in their order; of the other cells
    those with images.
    """
    counts = metrics.confusion_matrix(labels, predicted, labels=np.arange(len(names)))
    off_diagonal = counts - np.diag(np.diag(counts))
    diagonal = np.arange(len(names))
    actual, given = (np.concatenate([diagonal, places]) for places in np.nonzero(off_diagonal))
    images = counts[actual, given]
    share = images / np.maximum(counts.sum(axis=1), 1)[actual]
    names = np.asarray(names)
    return pd.DataFrame(
        {"actual": names[actual], "predicted": names[given], "images": images, "share": share}
    )


def areas(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The area under the one-vs-rest ROC curve of each class; NaN for a class that has no images,
    or all of them."""
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    return np.array(
        [
            metrics.roc_auc_score(labels == number, scores)
            if 0 < counts[number] < len(labels)
            else np.nan
            for number, scores in enumerate(probabilities.T)
        ]
    )


def micro_area(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The area under the ROC curve of all decisions together: each image and class is one."""
    return metrics.roc_auc_score(one_hot(probabilities, labels).ravel(), probabilities.ravel())


def one_hot(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.arange(probabilities.shape[1]) == labels[:, np.newaxis]


def roc(probabilities: np.ndarray, labels: np.ndarray, names: list[str]) -> pd.DataFrame:
    """ROC curves, one-vs-rest, at `FALSE_POSITIVE_RATES`: curve, false_positive_rate,
    true_positive_rate.

    ``curve`` is micro (all decisions together), macro (the mean of the classes' curves), or the
    name of one of the `HARDEST`.
    """
    area = areas(probabilities, labels)
    known = np.flatnonzero(~np.isnan(area))
    classes = {number: step_curve(labels == number, probabilities[:, number]) for number in known}
    curves = {"micro": step_curve(one_hot(probabilities, labels).ravel(), probabilities.ravel())}
    if classes:
        curves["macro"] = np.mean(list(classes.values()), axis=0)
    for number in known[np.argsort(area[known], kind="stable")][:HARDEST]:
        curves[f"class {names[number]}"] = classes[number]
    rates = {"false_positive_rate": FALSE_POSITIVE_RATES}
    tables = [
        pd.DataFrame({"curve": name, **rates, "true_positive_rate": curve})
        for name, curve in curves.items()
    ]
    return pd.concat(tables, ignore_index=True)


def step_curve(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The greatest true positive rate that costs at most each of `FALSE_POSITIVE_RATES`; `truth`
    bool and `scores` (decisions,)."""
    false_positive, true_positive, _ = metrics.roc_curve(truth, scores)
    return true_positive[np.searchsorted(false_positive, FALSE_POSITIVE_RATES, side="right") - 1]


def calibration(confidence: np.ndarray, correct: np.ndarray, bins: int) -> pd.DataFrame:
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
