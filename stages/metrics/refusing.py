"""When a model should abstain: the confidence below which its answers are refused, chosen
on validation data (selective classification: El-Yaniv and Wiener, JMLR 11, 2010).

`confidence` is the probability of each image's most probable class, float (images,), and `correct`
whether that is its true class, bool (images,). Coverage is the share of images that are not
refused.
"""

import numpy as np
import pandas as pd

DIGITS = 6  # as predictions are printed
STEPS = 50  # points of the curve, at equal steps of coverage of the validation set
# accuracies for which the table has a line of its own, if they are above that without refusal
ACCEPTED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)

Judged = tuple[np.ndarray, np.ndarray]  # confidence and correct of a part


def score_confidence(probabilities: np.ndarray, labels: np.ndarray) -> Judged:
    """Confidence and correct, from `probabilities` float (images, classes) and `labels` int
    (images,)."""
    confidence = np.round(probabilities.max(axis=1).astype(float), DIGITS)
    return confidence, probabilities.argmax(axis=1) == labels


def choose_confidence(confidence: np.ndarray, correct: np.ndarray, accuracy: float) -> float | None:
    """The least confidence such that of the images with at least that, the share `accuracy` is
    classified correctly: 0 where all of them together reach it, None where none does."""
    if correct.mean() >= accuracy:
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    reached = np.cumsum(correct[order]) / np.arange(1, len(order) + 1) >= accuracy
    last = np.append(confidence[1:] != confidence[:-1], True)  # of those with equal confidence
    chosen = confidence[reached & last]
    return float(chosen[-1]) if len(chosen) else None


def measure_refusal(
    confidence: np.ndarray, correct: np.ndarray, least: float
) -> dict[str, float | None]:
    """The share of images that is classified with at least the confidence `least`, and the accuracy
    on these (None of no image)."""
    accepted = confidence >= least
    return {
        "coverage": round(float(accepted.mean()), DIGITS),
        "accuracy": round(float(correct[accepted].mean()), DIGITS) if accepted.any() else None,
    }


def tabulate_coverage(parts: dict[str, Judged]) -> pd.DataFrame:
    """What each least confidence leaves of the `parts` validation and test: confidence,
    accepted_accuracy, and of each part PART_coverage and PART_accuracy; sorted.

    All confidences are chosen on the validation set: 0, which refuses nothing; one for each of
    `STEPS` coverages; and those of `ACCEPTED`, which accepted_accuracy names."""
    confidence, correct = parts["validation"]
    shares = np.arange(1, STEPS) / STEPS
    rows = [(0.0, None)]
    rows += [(one, None) for one in np.quantile(confidence, shares, method="inverted_cdf")]
    for accuracy in ACCEPTED:
        if correct.mean() < accuracy:
            rows.append((choose_confidence(confidence, correct, accuracy), accuracy))
    table = pd.DataFrame(rows, columns=["confidence", "accepted_accuracy"], dtype=float)
    table = table.dropna(subset="confidence").drop_duplicates()
    table = table.sort_values(["confidence", "accepted_accuracy"], ignore_index=True)
    for part, judged in parts.items():
        found = [measure_refusal(*judged, least) for least in table["confidence"]]
        table = table.join(pd.DataFrame(found, dtype=float).add_prefix(f"{part}_"))
    return table
