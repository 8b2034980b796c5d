"""Metrics of `probabilities`, float (images, classes), against `labels`, int (images,), defined as
in scikit-learn but computed in chunks, so that memory does not grow with images times classes; and
the uncertainty of an accuracy."""

from collections.abc import Iterator

import numpy as np

VALUES = 1 << 22  # most probabilities in a chunk, unless a single image has more


def estimate_standard_error(accuracy: float, images: int) -> float:
    """The binomial standard error of an accuracy measured on this number of `images`."""
    return float(np.sqrt(accuracy * (1 - accuracy) / images))


def estimate_interval(accuracy: float, images: int) -> tuple[float, float]:
    """The 95 % confidence interval of an accuracy measured on this number of `images`: Wilson's
    score interval, which is valid near 0 and 1 too."""
    from scipy.stats import binomtest

    interval = binomtest(round(accuracy * images), images).proportion_ci(0.95, "wilson")
    return interval.low, interval.high


def iterate_chunks(
    probabilities: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the probabilities and labels of a chunk of images at a time."""
    step = max(1, VALUES // probabilities.shape[1])
    for start in range(0, len(labels), step):
        yield probabilities[start : start + step], labels[start : start + step]


def rank_labels(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The number of classes more probable than each image's label, int (images,); of equally
    probable classes, the later one counts as more probable."""
    ranks, every_class = [], np.arange(probabilities.shape[1])
    for rows, truth in iterate_chunks(probabilities, labels):
        own, truth = rows[np.arange(len(truth)), truth][:, np.newaxis], truth[:, np.newaxis]
        is_ahead = (rows > own) | (rows == own) & (every_class > truth)
        ranks.append(is_ahead.sum(axis=1))
    return np.concatenate(ranks)


def measure_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean cross-entropy in nats."""
    own, epsilon = [], np.finfo(np.float64).eps
    for rows, truth in iterate_chunks(probabilities, labels):
        rows = rows.astype(np.float64)  # normalised below: float32 sums to 1 only approximately
        own.append(rows[np.arange(len(truth)), truth] / rows.sum(axis=1))
    return float(-np.log(np.concatenate(own).clip(epsilon, 1 - epsilon)).mean())


def measure_squared_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean squared difference from one-hot labels, over images and classes."""
    total = 0.0
    for rows, truth in iterate_chunks(probabilities, labels):
        difference = rows.astype(np.float64)
        difference[np.arange(len(truth)), truth] -= 1
        total += np.sum(difference**2)
    return float(total / probabilities.size)


def measure_kappa(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Cohen's kappa, the agreement beyond chance; NaN if there is a single class."""
    counts = [np.bincount(numbers, minlength=classes) for numbers in (labels, predicted)]
    wrong_by_chance = len(labels) - np.dot(*counts) / len(labels)
    wrong = np.count_nonzero(labels != predicted)
    return 1 - wrong / wrong_by_chance if wrong_by_chance else float("nan")
