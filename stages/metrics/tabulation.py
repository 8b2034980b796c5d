"""The tables of a model's predictions and of its training."""

import numpy as np
import pandas as pd
from sklearn import metrics

from stages.metrics import diagnostics

DIGITS = 6  # decimals in reports


def tabulate_classes(
    labels: np.ndarray, predicted: np.ndarray, names: list[str], areas: np.ndarray
) -> pd.DataFrame:
    """Precision, recall, F1, area under the ROC curve and number of images, a row per class."""
    scores = metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(names)), zero_division=0
    )
    table = pd.DataFrame(dict(zip(("precision", "recall", "f1", "images"), scores)))
    table.insert(0, "class", names)
    table.insert(4, "auc", areas)
    return table.round(DIGITS)


def tabulate_curves(history: pd.DataFrame, model: str) -> pd.DataFrame:
    """Learning curves, a row per part and epoch. In `history`, Keras's columns for the validation
    set start with ``val_``; learning rate and phase belong to the epoch, and go into both rows."""
    shared = [name for name in ("learning_rate", "phase") if name in history]
    columns = [name for name in ("accuracy", "loss", "mean_squared_error") if name in history]
    parts = {
        "training": history[columns],
        "validation": history[[f"val_{name}" for name in columns]].set_axis(columns, axis=1),
    }
    table = pd.concat(parts, names=["part", "epoch"]).reset_index()
    table = table.join(history[shared], on="epoch")
    return table.assign(model=model)[["model", "epoch", "part", *columns, *shared]]


def tabulate_predictions(
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    bins: int,
    curves: diagnostics.Curves,
) -> dict[str, pd.DataFrame]:
    """The tables of the test images, by the names of their `.csv` files. `probabilities` is float32
    (images, classes), `labels` int (images,); `names` are those of the classes."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    predictions = {
        "actual": np.take(names, labels),
        "predicted": np.take(names, predicted),
        "confidence": confidence.astype(np.float64),
    }
    tables = {
        "classes": tabulate_classes(labels, predicted, names, curves.areas),
        "predictions": pd.DataFrame(predictions),
        "confusion": diagnostics.tabulate_confusion(labels, predicted, names),
        "roc": diagnostics.tabulate_roc(curves, names),
        "calibration": diagnostics.tabulate_calibration(confidence, predicted == labels, bins),
    }
    return {name: table.round(DIGITS) for name, table in tables.items()}
