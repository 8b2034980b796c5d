"""Draw the figures that summarise all experiments, with matplotlib."""

import math
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from stages.drawing.style import COLOURS, STYLE
from stages.replications.formatting import format_share

# shares of what the document's run had: the table's columns, and their labels in the figure
CONDITIONS = {
    "training_images_share": "images",
    "epochs_share": "epoch limit",
    "measured_images_share": "measured on",
}
COLOURS_OF_SHARES = ["#f5c9a8", "#fae3cf", "#eef3f8", "#cfe3f2"]  # below 25, 50, 90 %, and above


@matplotlib.rc_context(STYLE)
def draw_published_and_obtained(rows: list[dict[str, Any]]) -> Figure:
    """All experiments: published beside obtained; their difference, beside what counts as noise;
    and how far each met the document's conditions. Reduced budgets are paler."""
    measured = ["published", "obtained", "noise"]
    table = pd.DataFrame(rows, columns=["experiment", "budget", "verdict", *measured])
    table = table.astype(dict.fromkeys(measured, float))  # None: nothing is published, or obtained
    places = np.arange(len(rows))
    figure = Figure(figsize=(12, 1.6 + 0.28 * len(rows)), layout="constrained")
    both, difference = figure.subplots(1, 2, sharey=True, width_ratios=(4, 3))
    full = table["budget"] == "full"
    obtained, reduced = table["obtained"].where(full), table["obtained"].where(~full)
    hollow = {"color": COLOURS[1], "markersize": 6, "markerfacecolor": "none", "zorder": 3}
    both.plot(obtained, places, "o", color=COLOURS[0], markersize=5, label="obtained, in full")
    both.plot(
        reduced, places, "o", color=COLOURS[0], markersize=5, alpha=0.35,
        label="obtained, reduced budget",
    )  # fmt: skip
    both.plot(table["published"], places, "D", label="published", **hollow)
    both.set_yticks(places, table["experiment"], fontsize=8)
    both.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="accuracy")
    difference.barh(
        places, 2 * table["noise"], left=-table["noise"], height=0.6, color="#dddddd",
        label="within noise",
    )  # fmt: skip
    difference.axvline(0, color="#888888", linewidth=0.8)
    gap = obtained - table["published"]
    for verdict, colour, marker in (
        ("within noise", COLOURS[0], "o"),
        ("above", COLOURS[2], "^"),
        ("below", COLOURS[3], "v"),
    ):
        difference.plot(
            gap.where(table["verdict"] == verdict), places, marker, color=colour, markersize=5,
            label=None if verdict == "within noise" else verdict,
        )  # fmt: skip
    difference.set(xlabel="obtained − published")
    difference.tick_params(axis="y", length=0, labelleft=False)
    draw_conditions(difference, rows)
    figure.suptitle("The documents' accuracies, published and obtained")
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    return figure


def draw_conditions(beside: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw a cell for each row and condition, to the right of the axes `beside`: our share of what
    the document's run had, and the number of seeds."""
    shares = pd.DataFrame(rows, columns=["experiment", *CONDITIONS, "seeds"])
    values = shares[list(CONDITIONS)].astype(float).to_numpy()
    axes = beside.inset_axes((1.03, 0, 0.5, 1), sharey=beside)
    places = np.arange(len(rows))
    axes.pcolormesh(
        np.arange(len(CONDITIONS) + 1) - 0.5,
        np.arange(len(rows) + 1) - 0.5,
        values,
        cmap=ListedColormap(COLOURS_OF_SHARES),
        norm=BoundaryNorm([0, 0.25, 0.5, 0.9, 1.0001], len(COLOURS_OF_SHARES)),
        edgecolors="white",
        linewidth=1.5,
    )
    seeds = shares["seeds"].astype(float)
    for row in places:
        for column, value in enumerate([*values[row], seeds[row]]):
            if math.isnan(value):  # not run yet, or nothing to compare with
                text = "–"
            else:
                text = f"{value:.0f}" if column == len(CONDITIONS) else format_share(value)
            axes.text(column, row, text, ha="center", va="center", fontsize=7)
    names = [*CONDITIONS.values(), "seeds"]
    axes.set_xticks(range(len(names)), names, fontsize=8, rotation=90)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelleft=False)
    axes.set(xlim=(-0.5, len(names) - 0.5))
    axes.grid(False)
    axes.spines[:].set_visible(False)


@matplotlib.rc_context(STYLE)
def draw_losses() -> Figure:
    """Squared error and cross-entropy of one output whose true value is 0, as the flowers document
    compares them: at the prediction 0.9, the values are 0.81 and 2.3, the slopes 1.8 and 10."""
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
                f"{height:.2g}", (0.9, height), (-28, 4), textcoords="offset points", color=colour
            )
        axes.set(title=title, xlabel="predicted probability of the wrong class")
    values.legend(frameon=False)
    figure.suptitle("Squared error and cross-entropy where the truth is 0")
    return figure
