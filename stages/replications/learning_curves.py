"""Draw learning curves with matplotlib, of one experiment or of all experiments of a document;
behind them, the values that the document prints."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from stages.drawing import charts
from stages.drawing.style import COLOURS, STYLE, choose_colours

IN_ONE_PANEL = 6  # experiments whose learning curves can be distinguished
MARKED = 30  # epochs up to which each has a marker
# panels whose experiments differ in the optimizer have the same colours
OPTIMIZERS = dict(zip(("adam", "adadelta", "adagrad", "sgd"), COLOURS))


def plot_published(
    axes: Axes, published: pd.DataFrame, column: str, colour: str, **style: object
) -> None:
    """Draw one column of a document's log, behind everything else: a wide line joins consecutive
    epochs, a thin one bridges those whose values we lack."""
    printed = published.set_index("epoch")[column].dropna()
    if printed.empty:
        return
    every = printed.reindex(np.arange(printed.index.min(), printed.index.max() + 1))
    wide = {"linewidth": 4, "alpha": 0.25, "marker": "s", "markersize": 5, "zorder": 1}
    axes.plot(every.index, every, color=colour, **wide | style)
    thin = wide | {"linewidth": 0.8, "marker": "", "alpha": 0.5, "label": None}
    axes.plot(printed.index, printed, color=colour, **style | thin)


@matplotlib.rc_context(STYLE)
def draw_curves(title: str, curves: pd.DataFrame, published: pd.DataFrame, loss: str) -> Figure:
    """Accuracy, loss, and squared error if it was recorded, by epoch, on training and validation
    data; behind them, wide and pale, what the document prints. `curves` are an experiment's
    curves.csv, `published` what we have of its log; `loss` is Keras's name."""
    labels = {
        "accuracy": "accuracy",
        "loss": f"loss: {loss}",
        "mean_squared_error": "mean squared error",
    }
    panels = {measure: {"ylabel": label} for measure, label in labels.items() if measure in curves}
    styles = {
        part: {"marker": "o", "markersize": 3, "color": colour, "label": part}
        for part, colour in zip(("training", "validation"), COLOURS)
    }
    size = (4.5 * len(panels), 4)
    figure = charts.draw_learning_curves(
        f"{title}: learning curves of the first seed", curves, panels, styles, size
    )
    for axes, measure in zip(figure.axes, panels):
        columns = dict(zip(styles, (measure, f"val_{measure}")))
        for part, column in columns.items():
            if column in published:
                label, colour = f"{part}, published", styles[part]["color"]
                plot_published(axes, published, column, colour, label=label)
        if measure == "loss":
            shown = [curves["loss"], *(published[column] for column in columns.values())]
            use_log_scale(axes, pd.concat(shown).dropna())
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def use_log_scale(axes: Axes, losses: pd.Series) -> None:
    """Make the y axis logarithmic if a few losses are so large that the others would lie on 0."""
    if losses.min() > 0 and losses.max() > 10 * losses.median():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(PlainLogFormatter())


class PlainLogFormatter(LogFormatter):
    """Labels those minor ticks that matplotlib would, as 0.2 instead of 2e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


@matplotlib.rc_context(STYLE)
def draw_curves_of_document(title: str, curves: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Validation accuracy (left) and training accuracy (right) by epoch of a document's
    experiments, first seed; behind them, wide and pale, what the document prints. More than
    `IN_ONE_PANEL` experiments get a row for each prefix of their names (``flowers-v3``)."""
    crowded = curves["model"].nunique() > IN_ONE_PANEL
    panel_of = curves["model"].str.split("-").str[:2].str.join("-") if crowded else ""
    panels = list(curves.assign(panel=panel_of).groupby("panel", sort=False))
    height = 2.6 if crowded else 4
    figure = Figure(figsize=(14, 0.4 + height * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 2, squeeze=False, sharex="row", sharey="row")
    for row, (panel, panel_curves) in zip(grid, panels):
        colours = colour_experiments(list(panel_curves["model"].unique()))
        printed = published[published["experiment"].isin(list(colours))]
        last = max(panel_curves["epoch"].max(), printed["epoch"].max() if len(printed) else 0)
        style = {"marker": "o" if last <= MARKED else "", "markersize": 4}
        parts = {"validation": "val_accuracy", "training": "accuracy"}
        for axes, (part, column) in zip(row, parts.items()):
            charts.plot_learning_curves(axes, panel_curves, "accuracy", {part: style}, colours)
            for model, colour in colours.items():
                plot_published(axes, printed[printed["experiment"] == model], column, colour)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set(
                xlabel="epoch",
                ylabel=f"{part} accuracy",
                title=panel,
                xlim=(0.5 - 0.01 * last, last + 0.5 + 0.01 * last),
            )
        row[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    pale = "; pale: as published" if len(published) else ""
    figure.suptitle(f"{title} (first seed of each{pale})")
    return figure


def colour_experiments(models: list[str]) -> dict[str, str]:
    """A colour for each experiment: its optimizer's if all names end with one."""
    last = [model.rsplit("-", 1)[-1] for model in models]
    if set(last) <= set(OPTIMIZERS):
        return {model: OPTIMIZERS[optimizer] for model, optimizer in zip(models, last)}
    return choose_colours(models)
