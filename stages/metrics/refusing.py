"""When a model should rather not answer: the confidence below which its answers are refused, chosen
on validation data (selective classification: El-Yaniv and Wiener, JMLR 11, 2010).

The confidence is the probability of the most probable class. `probabilities` is float (images,
classes), `labels` int (images,).
"""

import numpy as np

DIGITS = 6  # as predictions are printed


def choose_confidence(
    probabilities: np.ndarray, labels: np.ndarray, accuracy: float
) -> float | None:
    """The least confidence such that of the images with at least that, the share `accuracy` is
    classified correctly; None where none reaches it."""
    confidence = np.round(probabilities.max(axis=1).astype(float), DIGITS)
    correct = probabilities.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    reached = np.cumsum(correct[order]) / np.arange(1, len(order) + 1) >= accuracy
    last = np.append(confidence[1:] != confidence[:-1], True)  # of those with equal confidence
    chosen = confidence[reached & last]
    return float(chosen[-1]) if len(chosen) else None


def measure_refusal(
    probabilities: np.ndarray, labels: np.ndarray, confidence: float
) -> dict[str, float | None]:
    """The share of images that is classified with at least `confidence`, and the accuracy on these
    (None of no image)."""
    accepted = np.round(probabilities.max(axis=1).astype(float), DIGITS) >= confidence
    correct = probabilities.argmax(axis=1) == labels
    return {
        "coverage": round(float(accepted.mean()), DIGITS),
        "accuracy": round(float(correct[accepted].mean()), DIGITS) if accepted.any() else None,
    }
