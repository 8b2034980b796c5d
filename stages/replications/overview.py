"""Draw the figures that summarise all experiments, or those of a document, and the documents' own
curves, with matplotlib."""

import math
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.drawing import charts
from stages.drawing.charts import COLOURS, STYLE, Accuracies

# shares of what the document's run had: the table's columns, and their labels in the figure
CONDITIONS = {
    "training_images_share": "images",
    "epochs_share": "epochs",
    "measured_images_share": "measured on",
}
IN_ONE_PANEL = 6  # experiments whose learning curves can be distinguished
COLOURS_OF_SHARES = ["#f5c9a8", "#fae3cf", "#eef3f8", "#cfe3f2"]  # below 25, 50, 90 %, and above


def format_share(share: float) -> str:
    """A share in per cent; below one, ``<1%`` instead of 0 %."""
    return f"{share:.0%}" if share >= 0.01 else "<1%"


def plot_published(
    axes: Axes, published: pd.DataFrame, column: str, colour: str, **style: Any
) -> None:
    """Draw one column of the epochs that a document prints, behind everything else: a wide line
    joins consecutive epochs, a thin one bridges those that it does not print."""
    printed = published.set_index("epoch")[column].dropna()
    if printed.empty:
        return
    every = printed.reindex(range(printed.index.min(), printed.index.max() + 1))
    wide = {"linewidth": 4, "alpha": 0.25, "marker": "s", "markersize": 5, "zorder": 1}
    axes.plot(every.index, every, color=colour, **wide | style)
    thin = wide | {"linewidth": 0.8, "marker": "", "alpha": 0.5, "label": None}
    axes.plot(printed.index, printed, color=colour, **style | thin)


@matplotlib.rc_context(STYLE)
def draw_published_and_obtained(rows: list[dict[str, Any]]) -> Figure:
    """All experiments, published beside obtained, with bars that span differences within noise;
    reduced budgets are paler. Beside that, how far each met the document's conditions."""
    measured = ["published", "obtained", "noise"]
    table = pd.DataFrame(rows, columns=["experiment", "budget", *measured])
    table = table.astype(dict.fromkeys(measured, float))  # None: nothing is published, or obtained
    full = table["budget"] == "full"
    style = {"fmt": "o", "color": COLOURS[0], "markersize": 5, "capsize": 2}
    hollow = {"fmt": "D", "color": COLOURS[1], "markersize": 6, "markerfacecolor": "none"}
    series = [
        Accuracies("obtained, in full", table["obtained"].where(full), table["noise"], style),
        Accuracies(
            "obtained, reduced budget",
            table["obtained"].where(~full),
            None,
            style | {"alpha": 0.35},
        ),
        Accuracies("published", table["published"], None, hollow | {"zorder": 3}),
    ]
    figure = charts.draw_accuracies(
        "The documents' accuracies, published and obtained",
        "accuracy (bars: what counts as noise)",
        table["experiment"].tolist(),
        series,
        row_height=0.28,
    )
    axes = figure.axes[0]
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    axes.tick_params(axis="y", labelsize=8)
    draw_conditions(axes, rows)
    figure.get_layout_engine().set(rect=(0, 0, 0.94, 1))  # the engine ignores part of the inset
    return figure


def draw_conditions(beside: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw a cell for each row and condition, to the right of the axes `beside`: our share of what
    the document's run had, and the number of seeds."""
    shares = pd.DataFrame(rows, columns=["experiment", *CONDITIONS, "seeds"])
    values = shares[list(CONDITIONS)].astype(float).to_numpy()
    axes = beside.inset_axes((1.02, 0, 0.28, 1), sharey=beside)
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
            if not math.isnan(value):  # not run yet, or nothing to compare with
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
def draw_curves(title: str, curves: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Accuracy, loss, and squared error if it was recorded, by epoch, on training and validation
    data; behind them, wide and pale, what the document prints. `curves` are an experiment's
    curves.csv, `published` the epochs that the document prints of it."""
    labels = {
        "accuracy": "accuracy",
        "loss": "loss that is trained on",
        "mean_squared_error": "mean squared error",
    }
    panels = {measure: {"ylabel": label} for measure, label in labels.items() if measure in curves}
    styles = {
        part: {"marker": "o", "markersize": 3, "color": colour, "label": part}
        for part, colour in zip(("training", "validation"), COLOURS)
    }
    size = (4.5 * len(panels), 3.8)
    figure = charts.draw_learning_curves(
        f"{title}: learning curves of the first seed", curves, panels, styles, size
    )
    for axes, measure in zip(figure.axes, panels):
        for (part, style), column in zip(styles.items(), (measure, f"val_{measure}")):
            if column in published and published[column].notna().any():
                label = f"{part}, published"
                plot_published(axes, published, column, style["color"], label=label)
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


@matplotlib.rc_context(STYLE)
def draw_curves_of_document(title: str, curves: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Validation accuracy by epoch of a document's experiments; dotted, with crosses, training
    accuracy of the first seed; behind them, wide and pale, what the document prints. More than
    `IN_ONE_PANEL` experiments get a panel for each prefix of their names (``flowers-v3``)."""
    crowded = curves["model"].nunique() > IN_ONE_PANEL
    panel_of = curves["model"].str.split("-").str[:2].str.join("-") if crowded else ""
    panels = list(curves.assign(panel=panel_of).groupby("panel", sort=False))
    rows = math.ceil(len(panels) / 2) if crowded else 1
    styles = {
        "validation": {"marker": "o", "linestyle": "-", "markersize": 4},
        "training": {"marker": "x", "linestyle": ":", "markersize": 5, "label": None},
    }
    size = (14, 2.6 * rows) if crowded else (9, 5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, 2 if crowded else 1, squeeze=False, sharey=True).ravel()
    for axes, (panel, panel_curves) in zip(grid, panels):
        charts.plot_learning_curves(axes, panel_curves, "accuracy", styles)
        last = panel_curves["epoch"].max()
        models = panel_curves["model"].unique()
        for model, colour in zip(models, charts.choose_colours(len(models))):
            printed = published[published["experiment"] == model]
            plot_published(axes, printed, "accuracy", colour, linestyle=":")
            plot_published(axes, printed, "val_accuracy", colour)
            last = max(last, printed["epoch"].max()) if len(printed) else last
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set(xlabel="epoch", title=panel, xlim=(0.5, last + 0.5))
        if crowded:
            axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    for axes in grid[len(panels) :]:
        axes.axis("off")
    if not crowded:
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    pale = ", published (pale)" if len(published) else ""
    figure.supylabel(f"accuracy: validation (points), training (crosses){pale}", fontsize=9)
    figure.suptitle(title)
    return figure


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
