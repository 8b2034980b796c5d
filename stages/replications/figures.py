"""The figures that the documents draw, for each replicated experiment, by matplotlib."""

import itertools
import math
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import auc, roc_curve

from stages.drawing.charts import COLOURS, STYLE
from stages.storage.prepared import Prepared

SHOWN = 15  # test images with their predictions
LABELLED = 20  # classes at most whose names and counts stand in the confusion matrix


def of_experiment(
    name: str,
    curves: pd.DataFrame,
    probabilities: np.ndarray,
    prepared: Prepared,
    training: dict[str, Any],
) -> dict[str, Figure]:
    """The figures of one experiment by their names. `probabilities` float32 (images, classes) of
    the test part."""
    names, labels = prepared.description["class_names"], prepared.labels("test")
    with matplotlib.rc_context(STYLE):
        return {
            "curves": learning_curves(name, curves),
            "confusion": confusion(name, labels, probabilities.argmax(axis=1), names),
            "roc": roc(name, labels, probabilities, names),
            "predictions": predictions(name, prepared.images("test"), labels, probabilities, names),
            "architecture": architecture(name, training),
        }


def learning_curves(title: str, curves: pd.DataFrame) -> Figure:
    """Accuracy, loss, and squared error where it was recorded, by epoch,
    training and validation."""
    labels = {
        "accuracy": "accuracy",
        "loss": "loss (cross-entropy, nats)",
        "mean_squared_error": "mean squared error",
    }
    measures = [measure for measure in labels if measure in curves]
    figure = Figure(figsize=(4.5 * len(measures), 3.8), layout="constrained")
    for axes, measure in zip(figure.subplots(1, len(measures)), measures):
        for number, part in enumerate(("training", "validation")):
            some = curves[curves["part"] == part]
            axes.plot(
                some["epoch"], some[measure], "o-", markersize=3, color=COLOURS[number], label=part
            )
        axes.set(xlabel="epoch", ylabel=labels[measure])
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    figure.suptitle(f"{title}: learning curves")
    return figure


def confusion(title: str, labels: np.ndarray, predicted: np.ndarray, names: list[str]) -> Figure:
    """Test images by true class (rows) and predicted class (columns), with counts where they can be
    read."""
    classes = len(names)
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predicted), 1)
    few = classes <= LABELLED
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.add_subplot(
        title=f"{title}: confusion matrix, test part", xlabel="predicted class", ylabel="true class"
    )
    image = axes.imshow(
        counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1
    )
    figure.colorbar(image, label="fraction of the true class", shrink=0.8)
    axes.grid(False)
    step = 1 if few else 5
    axes.set_xticks(range(0, classes, step), names[::step], rotation=90, fontsize=9 if few else 7)
    axes.set_yticks(range(0, classes, step), names[::step], fontsize=9 if few else 7)
    if few:
        for true, guess in np.ndindex(classes, classes):
            share = counts[true, guess] / max(counts[true].sum(), 1)
            axes.text(
                guess,
                true,
                counts[true, guess],
                ha="center",
                va="center",
                fontsize=8,
                color="white" if share > 0.5 else "black",
            )
    return figure


def roc(title: str, labels: np.ndarray, probabilities: np.ndarray, names: list[str]) -> Figure:
    """ROC of one class against the rest: micro, macro, and the best, middle and worst class; the
    upper left corner beside it."""
    truth = np.eye(len(names))[labels]
    present = np.flatnonzero(truth.any(axis=0))
    of_class = {
        number: roc_curve(truth[:, number], probabilities[:, number])[:2] for number in present
    }
    areas = {number: auc(*rates) for number, rates in of_class.items()}
    grid = np.linspace(0, 1, 2001)
    macro = np.mean([np.interp(grid, *rates) for rates in of_class.values()], axis=0)
    micro = roc_curve(truth.ravel(), probabilities.ravel())[:2]
    ordered = sorted(present, key=areas.get, reverse=True)
    lines = [("micro", *micro, "--"), ("macro", grid, macro, ":")]
    for number in dict.fromkeys((ordered[0], ordered[len(ordered) // 2], ordered[-1])):
        lines.append((names[number], *of_class[number], "-"))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    whole, corner = figure.subplots(1, 2)
    for colour, (name, false, true, style) in zip(COLOURS, lines):
        for axes in (whole, corner):
            axes.plot(
                false, true, style, color=colour, label=f"{name}, area {auc(false, true):.4f}"
            )
    whole.plot([0, 1], [0, 1], color="#b0b0b0", linewidth=0.8)
    whole.set(title="all", xlabel="false positive rate", ylabel="true positive rate")
    corner.set(
        title="upper left corner", xlabel="false positive rate", xlim=(0, 0.2), ylim=(0.8, 1)
    )
    whole.legend(frameon=False, loc="lower right", fontsize=9)
    figure.suptitle(
        f"{title}: ROC, one class against the rest (average, best, middle and worst class)"
    )
    return figure


def predictions(
    title: str, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: list[str]
) -> Figure:
    """Some test images, evenly spread, with the predicted class, its probability, and the true
    class where it is another."""
    places = np.linspace(0, len(labels) - 1, min(SHOWN, len(labels))).astype(int)
    columns = 5
    figure = Figure(figsize=(9, 2.1 * math.ceil(len(places) / columns)), layout="constrained")
    panels = figure.subplots(math.ceil(len(places) / columns), columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, place in zip(panels, places):
        guess = probabilities[place].argmax()
        right = guess == labels[place]
        axes.imshow(images[place].squeeze(), cmap="gray", vmin=0, vmax=255)
        text = f"{names[guess]} {probabilities[place, guess]:.0%}" + (
            "" if right else f"\n(is {names[labels[place]]})"
        )
        axes.set_title(text, fontsize=9, color="#006d4c" if right else "#b23b00")
    figure.suptitle(f"{title}: test images and predictions")
    return figure


def architecture(title: str, training: dict[str, Any]) -> Figure:
    """The layers as boxes from top to bottom, with output shape and parameters; long networks in
    several columns."""
    layers = training["layers"]
    rows = min(24, len(layers))
    columns = math.ceil(len(layers) / rows)
    figure = Figure(figsize=(4.2 * columns, 0.34 * rows + 1))
    axes = figure.add_axes(
        (0.01, 0.01, 0.98, 0.9 if rows > 8 else 0.84), xlim=(0, columns), ylim=(rows, 0)
    )
    axes.axis("off")
    for number, layer in enumerate(layers):
        column, row = divmod(number, rows)
        shape = "×".join(map(str, layer["output_shape"]))
        trained = layer["parameters"] > 0
        axes.add_patch(
            matplotlib.patches.Rectangle(
                (column + 0.02, row + 0.08),
                0.94,
                0.84,
                linewidth=0.6,
                facecolor="#d9e8f5" if trained else "#f2f2f2",
                edgecolor="#888888",
            )
        )
        text = layer["type"] + (f"   {layer['parameters']:,}" if trained else "")
        axes.text(column + 0.05, row + 0.5, text, va="center", fontsize=8.5)
        axes.text(
            column + 0.93, row + 0.5, shape, va="center", ha="right", fontsize=8.5, color="#444444"
        )
    figure.suptitle(f"{title}: {training['parameters']['total']:,} parameters", fontsize=10)
    return figure


def published_and_obtained(rows: list[dict[str, Any]]) -> Figure:
    """All experiments, published beside obtained, with bars of two standard errors; reduced budgets
    paler."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.2 + 0.28 * len(rows)), layout="constrained")
        axes = figure.add_subplot(xlabel="accuracy (bars: two standard errors)", xlim=(0, 1))
        for place, row in enumerate(rows):
            if row["published"] is not None:
                axes.plot(row["published"], place, "D", color=COLOURS[1], markersize=5)
            if "obtained" in row:
                axes.errorbar(
                    row["obtained"],
                    place,
                    xerr=2 * row["standard_error"],
                    fmt="o",
                    color=COLOURS[0],
                    markersize=5,
                    alpha=1 if row["budget"] == "full" else 0.35,
                    capsize=2,
                )
        for fmt, colour, alpha, label in (
            ("D", COLOURS[1], 1, "published"),
            ("o", COLOURS[0], 1, "obtained, in full"),
            ("o", COLOURS[0], 0.35, "obtained, reduced budget"),
        ):
            axes.plot([], [], fmt, color=colour, alpha=alpha, label=label)
        axes.set_yticks(range(len(rows)), [row["experiment"] for row in rows], fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        figure.suptitle("The documents' accuracies, published and obtained")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def document_curves(title: str, curves: pd.DataFrame) -> Figure:
    """Validation accuracy by epoch of experiments that belong together; training accuracy dotted,
    with crosses. One panel, or where one has not colours enough, a panel for each beginning of
    names (``flowers-v3``)."""
    models = list(dict.fromkeys(curves["model"]))
    crowded = len(models) > len(COLOURS)
    panel_of = {model: "-".join(model.split("-")[:2]) if crowded else "" for model in models}
    panels = list(dict.fromkeys(panel_of.values()))
    rows = math.ceil(len(panels) / 2) if crowded else 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(14 if crowded else 9, 2.6 * rows if crowded else 5), layout="constrained"
        )
        grid = figure.subplots(rows, 2 if crowded else 1, squeeze=False, sharey=True).ravel()
        for axes, panel in zip(grid, panels):
            some = [model for model in models if panel_of[model] == panel]
            for model, colour in zip(some, itertools.cycle(COLOURS)):
                for part, style, size, label in (
                    ("validation", "o-", 4, model),
                    ("training", "x:", 5, None),
                ):
                    one = curves[(curves["model"] == model) & (curves["part"] == part)]
                    axes.plot(
                        one["epoch"],
                        one["accuracy"],
                        style,
                        markersize=size,
                        color=colour,
                        label=label,
                    )
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set(
                xlabel="epoch",
                title=panel,
                xlim=(0.5, curves.loc[curves["model"].isin(some), "epoch"].max() + 0.5),
            )
            if crowded:
                axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        for axes in grid[len(panels) :]:
            axes.axis("off")
        if not crowded:
            figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        figure.supylabel("accuracy: validation (points), training (dotted, crosses)", fontsize=9)
        figure.suptitle(title)
    return figure


def losses() -> Figure:
    """Squared error and cross-entropy of one output where the truth is 0, as the flowers document
    compares them: values and slopes at the prediction 0.9 are 0.81 and 2.3, 1.8 and 10."""
    with matplotlib.rc_context(STYLE):
        predicted = np.linspace(0, 0.97, 400)
        figure = Figure(figsize=(9, 4), layout="constrained")
        values, slopes = figure.subplots(1, 2)
        for axes, title, square, entropy in (
            (values, "loss", predicted**2, -np.log(1 - predicted)),
            (slopes, "slope of the loss", 2 * predicted, 1 / (1 - predicted)),
        ):
            axes.plot(predicted, square, color=COLOURS[0], label="squared error")
            axes.plot(predicted, entropy, color=COLOURS[1], label="cross-entropy")
            axes.axvline(0.9, color="#b0b0b0", linewidth=0.8)
            for curve, colour in ((square, COLOURS[0]), (entropy, COLOURS[1])):
                height = np.interp(0.9, predicted, curve)
                axes.plot(0.9, height, "o", color=colour)
                axes.annotate(
                    f"{height:.2g}",
                    (0.9, height),
                    (-28, 4),
                    textcoords="offset points",
                    color=colour,
                )
            axes.set(title=title, xlabel="predicted probability of the wrong class")
        values.legend(frameon=False)
        figure.suptitle("Squared error and cross-entropy where the truth is 0")
    return figure
