"""Selective classification (El-Yaniv and Wiener, JMLR 11, 2010): a threshold of confidence, chosen
on validation data, below which a model's answers are refused.

`confidence` is the probability of each image's most probable class, float (images,), and `correct`
whether that is its true class, bool (images,). Coverage is the share of images that are not
refused.
"""

import numpy as np
import pandas as pd

DIGITS = 6  # decimals, as in printed predictions
STEPS = 50  # points of the curve, at equal steps of validation coverage
# accuracies with a row of their own in the table, if higher than the accuracy without refusal
ACCEPTED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)

Scored = tuple[np.ndarray, np.ndarray]  # confidence and correct of a part


def score_confidence(probabilities: np.ndarray, labels: np.ndarray) -> Scored:
    """Compute confidence and correct from `probabilities`, float (images, classes), and `labels`,
    int (images,)."""
    confidence = np.round(probabilities.max(axis=1).astype(float), DIGITS)
    return confidence, probabilities.argmax(axis=1) == labels


def choose_threshold(confidence: np.ndarray, correct: np.ndarray, accuracy: float) -> float | None:
    """The lowest threshold such that the images with at least this confidence are classified with
    at least this `accuracy`: 0 if all images together are, None if no threshold suffices."""
    if correct.mean() >= accuracy:
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    reached = np.cumsum(correct[order]) / np.arange(1, len(order) + 1) >= accuracy
    is_last = np.append(confidence[1:] != confidence[:-1], True)  # of equal confidences
    thresholds = confidence[reached & is_last]
    return float(thresholds[-1]) if len(thresholds) else None


def measure_refusal(
    confidence: np.ndarray, correct: np.ndarray, threshold: float
) -> dict[str, float | None]:
    """The share of images with at least the confidence `threshold`, and the accuracy on these (None
    if there are none)."""
    accepted = confidence >= threshold
    return {
        "coverage": round(float(accepted.mean()), DIGITS),
        "accuracy": round(float(correct[accepted].mean()), DIGITS) if accepted.any() else None,
    }


def tabulate_coverage(parts: dict[str, Scored]) -> pd.DataFrame:
    """Coverage and accuracy of the `parts` validation and test by threshold: confidence,
    accepted_accuracy, and for each part PART_coverage and PART_accuracy; sorted.

    All thresholds are chosen on the validation set: 0, which refuses nothing; one for each of
    `STEPS` coverages; and one for each of the `ACCEPTED` accuracies, named in accepted_accuracy."""
    confidence, correct = parts["validation"]
    shares = np.arange(1, STEPS) / STEPS
    rows = [(0.0, None)]
    quantiles = np.quantile(confidence, shares, method="inverted_cdf")
    rows += [(threshold, None) for threshold in quantiles]
    for accuracy in ACCEPTED:
        if correct.mean() < accuracy:
            rows.append((choose_threshold(confidence, correct, accuracy), accuracy))
    table = pd.DataFrame(rows, columns=["confidence", "accepted_accuracy"], dtype=float)
    table = table.dropna(subset="confidence").drop_duplicates()
    table = table.sort_values(["confidence", "accepted_accuracy"], ignore_index=True)
    for part, scored in parts.items():
        refusals = [measure_refusal(*scored, threshold) for threshold in table["confidence"]]
        table = table.join(pd.DataFrame(refusals, dtype=float).add_prefix(f"{part}_"))
    return table
