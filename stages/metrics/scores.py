"""Measures of `probabilities`, float (images, classes), against `labels`, int (images,), as
scikit-learn has them, and computed for some images at a time: memory does not grow with classes
times images. And how sure an accuracy is."""

from collections.abc import Iterator

import numpy as np

VALUES = 1 << 22  # probabilities that are computed with at a time


def estimate_standard_error(accuracy: float, images: int) -> float:
    """The binomial standard error of an accuracy measured on so many images."""
    return float(np.sqrt(accuracy * (1 - accuracy) / images))


def estimate_interval(accuracy: float, images: int) -> tuple[float, float]:
    """The 95 % confidence interval of an accuracy measured on so many images, by Wilson's score,
    which holds near 0 and 1 too."""
    from scipy.stats import binomtest

    found = binomtest(round(accuracy * images), images).proportion_ci(0.95, "wilson")
    return found.low, found.high


def read_rows(
    probabilities: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The probabilities of some images, with their labels."""
    step = max(1, VALUES // probabilities.shape[1])
    for start in range(0, len(labels), step):
        yield probabilities[start : start + step], labels[start : start + step]


def rank_labels(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes are more probable than each image's own, int (images,); of equal ones the
    later counts as more probable."""
    ranks, every_class = [], np.arange(probabilities.shape[1])
    for some, their in read_rows(probabilities, labels):
        own, their = some[np.arange(len(their)), their][:, np.newaxis], their[:, np.newaxis]
        before = (some > own) | (some == own) & (every_class > their)
        ranks.append(before.sum(axis=1))
    return np.concatenate(ranks)


def measure_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean cross-entropy in nats."""
    own, least = [], np.finfo(np.float64).eps
    for some, their in read_rows(probabilities, labels):
        in_double = some.astype(np.float64)  # float32 sums to 1 only nearly
        own.append(in_double[np.arange(len(their)), their] / in_double.sum(axis=1))
    return float(-np.log(np.concatenate(own).clip(least, 1 - least)).mean())


def measure_squared_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean squared difference to one-hot labels, over images and classes."""
    total = 0.0
    for some, their in read_rows(probabilities, labels):
        difference = some.astype(np.float64)
        difference[np.arange(len(their)), their] -= 1
        total += np.sum(difference**2)
    return float(total / probabilities.size)


def measure_kappa(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Cohen's kappa: the agreement beyond that of chance; NaN where there is one class alone."""
    counts = [np.bincount(some, minlength=classes) for some in (labels, predicted)]
    by_chance = len(labels) - np.dot(*counts) / len(labels)
    wrong = np.count_nonzero(labels != predicted)
    return 1 - wrong / by_chance if by_chance else float("nan")
