"""The metrics of a model's predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from stages.metrics import diagnostics
from stages.metrics.scores import (
    estimate_standard_error,
    measure_kappa,
    measure_loss,
    measure_squared_error,
    rank_labels,
)
from stages.metrics.tabulation import DIGITS, tabulate_curves, tabulate_predictions
from stages.params.schema import Evaluate
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared


def measure(
    probabilities: np.ndarray,
    labels: np.ndarray,
    top_k: int,
    bins: int,
    curves: diagnostics.Curves | None = None,
) -> dict[str, float]:
    """The metrics of `probabilities`, float (images, classes), against `labels`, int (images,).
    `curves` are their ROC curves, if already computed.

    accuracy and its binomial standard_error; top_K_accuracy where there are more than K classes;
    loss (mean cross-entropy, nats); mean_squared_error of the probabilities against one-hot labels,
    averaged over images and classes; precision, recall and F1, macro (mean over classes) and micro
    (over all decisions); cohen_kappa; expected_calibration_error; areas under the one-vs-rest ROC
    curves, macro_auc and micro_auc.
    """
    count, classes = probabilities.shape
    predicted, every_class = probabilities.argmax(axis=1), np.arange(classes)
    accuracy = metrics.accuracy_score(labels, predicted)
    result = {
        "accuracy": accuracy,
        "standard_error": estimate_standard_error(accuracy, count),
    }
    if classes > top_k:
        result[f"top_{top_k}_accuracy"] = np.mean(rank_labels(probabilities, labels) < top_k)
    result["loss"] = measure_loss(probabilities, labels)
    result["mean_squared_error"] = measure_squared_error(probabilities, labels)
    for average in ("macro", "micro"):
        scores = metrics.precision_recall_fscore_support(
            labels, predicted, labels=every_class, average=average, zero_division=0
        )
        result |= {
            f"{average}_{name}": score for name, score in zip(("precision", "recall", "f1"), scores)
        }
    result["cohen_kappa"] = measure_kappa(labels, predicted, classes)
    result["expected_calibration_error"] = measure_calibration_error(
        probabilities.max(axis=1), predicted == labels, bins
    )
    curves = curves or diagnostics.compute_curves(probabilities, labels)
    if curves.classes:
        result["macro_auc"] = np.nanmean(curves.areas)
    result["micro_auc"] = metrics.auc(*curves.micro)
    # omit what is undefined, such as kappa with a single class
    return {
        name: round(float(value), DIGITS) for name, value in result.items() if np.isfinite(value)
    }


def measure_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    """The expected calibration error (Guo et al., arXiv 1706.04599): the absolute difference
    between mean confidence and accuracy of each bin of the reliability diagram, weighted by its
    images. `confidence` is float (images,) in (0, 1], `correct` bool (images,)."""
    table = diagnostics.tabulate_calibration(confidence, correct, bins)
    distance = (table["accuracy"] - table["confidence"]).abs()
    return float(np.average(distance, weights=table["images"]))


def measure_heads(
    probabilities: dict[str, np.ndarray], labels: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """``validation_accuracy`` and ``test_accuracy`` of each auxiliary head, from the entries
    ``PART_HEAD`` of predictions.npz."""
    names = [name.removeprefix("test_") for name in probabilities if name.startswith("test_")]
    return {
        name: {
            f"{part}_accuracy": round(
                float(np.mean(probabilities[f"{part}_{name}"].argmax(axis=1) == truth)), DIGITS
            )
            for part, truth in labels.items()
        }
        for name in names
    }


def measure_uncalibrated(
    probabilities: dict[str, np.ndarray], labels: dict[str, np.ndarray], bins: int
) -> dict[str, dict[str, float]]:
    """``loss`` and ``expected_calibration_error`` of each part before calibration, from the entries
    ``uncalibrated_PART`` of predictions.npz, if there are any."""
    result = {}
    for part, truth in labels.items():
        before = probabilities.get(f"uncalibrated_{part}")
        if before is not None:
            correct = before.argmax(axis=1) == truth
            error = measure_calibration_error(before.max(axis=1), correct, bins)
            result[part] = {
                "loss": round(measure_loss(before, truth), DIGITS),
                "expected_calibration_error": round(error, DIGITS),
            }
    return result


def measure_model(
    model: str, source: Path, prepared: Prepared, options: Evaluate
) -> tuple[dict[str, Any], dict[str, pd.DataFrame], dict[str, np.ndarray]]:
    """Evaluate the predictions in the folder `source`: the content of metrics.json; the tables, by
    the names of their `.csv` files; and the probabilities, float32 (images, classes), by their
    names in predictions.npz. Raises `UserError` if these contain NaN or infinity."""
    training = files.read_json(source / "training.json")
    history = pd.read_csv(source / "history.csv", index_col="epoch")
    probabilities = read_probabilities(source / "predictions.npz")
    labels = {part: prepared.labels(part) for part in ("validation", "test")}
    curves = {
        part: diagnostics.compute_curves(probabilities[part], labels[part]) for part in labels
    }
    result = {
        "model": model,
        "parameters": training["parameters"]["total"],
        "epochs": training["epochs"],
        "kept_epoch": training["kept_epoch"],
        **find_learning_rate(history),
    }
    for part, truth in labels.items():
        result[part] = {"images": len(truth)} | measure(
            probabilities[part], truth, options.top_k, options.calibration_bins, curves[part]
        )
    if heads := measure_heads(probabilities, labels):
        result["heads"] = heads
    if uncalibrated := measure_uncalibrated(probabilities, labels, options.calibration_bins):
        result["uncalibrated"] = {"temperature": training["temperature"], **uncalibrated}
    tables = tabulate_predictions(
        probabilities["test"],
        labels["test"],
        prepared.description["class_names"],
        options.calibration_bins,
        curves["test"],
    )
    tables["roc"] = tables["roc"].assign(model=model)
    return result, tables | {"curves": tabulate_curves(history, model)}, probabilities


def read_probabilities(path: Path) -> dict[str, np.ndarray]:
    """The probabilities in predictions.npz, float32 (images, classes), by their names. Raises
    `UserError` if one is NaN or infinite."""
    with np.load(path, allow_pickle=False) as file:
        probabilities = dict(file)
    if invalid := [name for name, array in probabilities.items() if not np.isfinite(array).all()]:
        raise UserError(
            f"{path}: {', '.join(invalid)} has probabilities that are no numbers (NaN): the "
            "model's weights are damaged, or its training failed"
        )
    return probabilities


def find_learning_rate(history: pd.DataFrame) -> dict[str, float]:
    """``learning_rate``, with a schedule the highest at the end of an epoch; empty for an older
    history, which has none. The head of a pre-trained network may have its own rate before."""
    if "phase" in history:
        history = history[history["phase"] == history["phase"].iloc[-1]]
    return {"learning_rate": history["learning_rate"].max()} if "learning_rate" in history else {}
