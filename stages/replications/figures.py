"""Draw the documents' figures for each replicated experiment, with matplotlib."""

import math
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import auc

from stages.drawing.style import COLOURS, CORNER_BEGINS, STYLE, fit_corner
from stages.metrics import diagnostics
from stages.storage.prepared import Prepared

SHOWN = 15  # test images with their predictions
LABELLED = 20  # classes up to which the confusion matrix shows all names and counts


@matplotlib.rc_context(STYLE)
def draw_experiment(
    name: str,
    tables: dict[str, pd.DataFrame],
    probabilities: np.ndarray,
    prepared: Prepared,
    training: dict[str, Any],
) -> dict[str, Figure]:
    """The figures of one experiment, by name. `tables` are those of
    `stages.metrics.measures.measure_model`; `probabilities` float32 (images, classes) of the test
    part, which may be the validation or the training images."""
    names, labels = prepared.description["class_names"], prepared.labels("test")
    title = f"{name}, {describe_images(training)}"
    return {
        "confusion": draw_confusion(title, tables["confusion"], names),
        "roc": draw_roc(title, labels, probabilities, names),
        "predictions": draw_predictions(
            title, prepared.images("test"), labels, probabilities, names
        ),
        "architecture": draw_architecture(name, training),
    }


def describe_images(training: dict[str, Any]) -> str:
    """What the images of the test part are in truth."""
    if not training["validation_is_test"]:
        return "test images"
    return "training images" if training["validation_is_training"] else "validation images"


def draw_confusion(title: str, cells: pd.DataFrame, names: list[str]) -> Figure:
    """Images by true class (rows) and predicted class (columns), with counts where they are
    legible. `cells` are those of `stages.metrics.diagnostics.tabulate_confusion`."""
    classes = len(names)
    counts = cells.pivot(index="actual", columns="predicted", values="images")
    counts = counts.reindex(index=names, columns=names).fillna(0).to_numpy(int)
    few = classes <= LABELLED
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.add_subplot(
        title=f"{title}: confusion matrix",
        xlabel=f"predicted class{'' if few else ' (every fifth is named)'}",
        ylabel="true class",
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="fraction of the true class", shrink=0.8)
    axes.grid(False)
    step = 1 if few else 5
    style = {"fontsize": 9 if few else 7, "parse_math": False}
    axes.set_xticks(range(0, classes, step), names[::step], rotation=90, **style)
    axes.set_yticks(range(0, classes, step), names[::step], **style)
    if few:
        for true, guess in np.ndindex(classes, classes):
            colour = "white" if shares[true, guess] > 0.5 else "black"
            style = {"ha": "center", "va": "center", "fontsize": 8, "color": colour}
            axes.text(guess, true, counts[true, guess], **style)
    return figure


def draw_roc(title: str, labels: np.ndarray, probabilities: np.ndarray, names: list[str]) -> Figure:
    """One-vs-rest ROC curves: micro, macro, and the best, middle and worst class; in full, and the
    upper left corner."""
    roc = diagnostics.compute_curves(probabilities, labels)
    rates = np.linspace(0, 1, 2001)
    macro = diagnostics.average_curves(roc.classes, rates)
    ordered = sorted(roc.classes, key=lambda number: roc.areas[number], reverse=True)
    lines = [
        ("micro", *roc.micro, auc(*roc.micro), "--"),
        ("macro", rates, macro, np.nanmean(roc.areas), ":"),
    ]
    for number in dict.fromkeys((ordered[0], ordered[len(ordered) // 2], ordered[-1])):
        lines.append((names[number], *roc.classes[number], roc.areas[number], "-"))
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    whole, corner = figure.subplots(1, 2)
    for colour, (name, false, true, area, style) in zip(COLOURS, lines):
        for axes in (whole, corner):
            axes.plot(false, true, style, color=colour, label=f"{name}, area {area:.4f}")
    whole.plot([0, 1], [0, 1], color="#b0b0b0", linewidth=0.8)
    whole.set(title="all", xlabel="false positive rate", ylabel="true positive rate")
    begin = [max(true[false <= CORNER_BEGINS]) for _, false, true, *_ in lines]
    xlim, ylim = fit_corner(min(begin))
    corner.set(title="upper left corner", xlabel="false positive rate", xlim=xlim, ylim=ylim)
    for text in whole.legend(frameon=False, loc="lower right", fontsize=9).get_texts():
        text.set_parse_math(False)
    figure.suptitle(
        f"{title}: ROC\neach class against the rest (averages; best, middle and worst class)"
    )
    return figure


def draw_predictions(
    title: str, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: list[str]
) -> Figure:
    """A few images, evenly spaced, with the predicted class, its probability, and the true
    class if it differs."""
    places = np.linspace(0, len(labels) - 1, min(SHOWN, len(labels))).astype(int)
    columns = 5
    figure = Figure(figsize=(9, 2.1 * math.ceil(len(places) / columns)), layout="constrained")
    panels = figure.subplots(math.ceil(len(places) / columns), columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, place in zip(panels, places):
        guess = probabilities[place].argmax()
        is_right = guess == labels[place]
        axes.imshow(images[place].squeeze(), cmap="gray", vmin=0, vmax=255)
        text = f"{names[guess]} {probabilities[place, guess]:.0%}" + (
            "" if is_right else f"\n(is {names[labels[place]]})"
        )
        colour = "#006d4c" if is_right else "#b23b00"
        axes.set_title(text, fontsize=9, color=colour, parse_math=False)
    figure.suptitle(f"{title}: predictions")
    return figure


def draw_architecture(title: str, training: dict[str, Any]) -> Figure:
    """The layers as boxes from top to bottom, with parameters and output shape, blue if they have
    parameters; a long network in several columns, with the names of layers instead of types."""
    layers = training["layers"]
    columns = math.ceil(len(layers) / 24)
    rows = math.ceil(len(layers) / columns)
    figure = Figure(figsize=(4.2 * columns, 0.34 * rows + 1), layout="constrained")
    axes = figure.add_subplot(xlim=(0, columns), ylim=(rows, 0))
    axes.axis("off")
    for number, layer in enumerate(layers):
        column, row = divmod(number, rows)
        shape = "×".join(map(str, layer["output_shape"]))
        has_parameters = layer["parameters"] > 0
        axes.add_patch(
            matplotlib.patches.Rectangle(
                (column + 0.02, row + 0.08),
                0.94,
                0.84,
                linewidth=0.6,
                facecolor="#d9e8f5" if has_parameters else "#f2f2f2",
                edgecolor="#888888",
            )
        )
        text = layer["type"] if columns == 1 else layer["name"]
        text += f"   {layer['parameters']:,}" if has_parameters else ""
        axes.text(column + 0.05, row + 0.5, text, va="center", fontsize=8.5)
        axes.text(
            column + 0.93, row + 0.5, shape, va="center", ha="right", fontsize=8.5, color="#444444"
        )
    total = training["parameters"]["total"]
    figure.suptitle(
        f"{title}\n{total:,} parameters\nblue: layers with parameters; right: output shape",
        fontsize=10,
    )
    return figure
