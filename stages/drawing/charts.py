"""The pictures of the reports, by matplotlib. Equal numbers give equal bytes: no date, no version
in the file."""

import functools
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.storage import files

matplotlib.use("agg")
DPI = 110  # pixels an inch
# classes that a picture or a chart shows at most: beyond, none can be made out, each takes 20 ms
# more, and browsers draw nothing that is so high
DRAWN = 100
CORNER_BEGINS = 0.05  # false positive rate: see `fit_corner`
LEGEND_COLUMNS, LEGEND_LETTERS = 3, 105  # at most, and what a legend's line has room for
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
}
# told apart by eyes of any kind: Okabe and Ito, then the rest of matplotlib's tab10 set
COLOURS = [
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f7f7f",
    "#8c564b",
    "#bcbd22",
    "#17becf",
]
MORE_COLOURS = [  # of the same hues, darker or lighter: for more than ten models
    "#003f63",
    "#8a3d00",
    "#00543d",
    "#7d3f63",
    "#8f6300",
    "#a9dcf7",
    "#c4c4c4",
    "#c9a39b",
    "#dedf8f",
    "#8fe3ee",
]


class Accuracies(NamedTuple):
    """What one colour of `draw_accuracies` shows; a row without a value is NaN."""

    label: str
    values: pd.Series
    errors: pd.Series | None  # half the length of the bars; None for none
    style: dict[str, Any]  # of matplotlib's errorbar
    shift: float = 0  # of the dots, in rows downwards


def choose_colours(count: int) -> list[str]:
    """A colour for each of `count` models; beyond twenty they begin again."""
    colours = COLOURS if count <= len(COLOURS) else COLOURS + MORE_COLOURS
    return [colours[number % len(colours)] for number in range(count)]


def fit_corner(least: float) -> tuple[list[float], list[float]]:
    """What the upper left corner of a ROC chart shows: the ranges of false and of true positive
    rates, such that all curves come into it; `least` is the smallest of their true positive rates
    at `CORNER_BEGINS`."""
    return [0, 0.2], [min(0.8, least // 0.1 / 10), 1]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with files.replacing(path) as partial, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
    for one in caught:
        if "missing from font" in str(one.message):
            note_missing_letters()
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@functools.cache  # once is enough
def note_missing_letters() -> None:
    print(
        f"note: pictures draw boxes for letters that {STYLE['font.family']} lacks, such as Chinese "
        "ones; tables and pages have them",
        file=sys.stderr,
    )


@matplotlib.rc_context(STYLE)
def draw_accuracies(
    title: str,
    xlabel: str,
    names: list[str],
    series: list[Accuracies],
    row_height: float,
    threshold: tuple[str, float] | None = None,
) -> Figure:
    """A dot with an error bar for each accuracy, a row of `row_height` inches for each name;
    `threshold` is a line with its label."""
    figure = Figure(figsize=(9, 1.4 + row_height * len(names)), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel)
    places = np.arange(len(names))
    for one in series:
        axes.errorbar(one.values, places + one.shift, xerr=one.errors, label=one.label, **one.style)
    if threshold:
        label, value = threshold
        axes.axvline(value, color=COLOURS[0], linewidth=1, linestyle="--", label=label)
    axes.set_yticks(places, names)
    low, high = axes.get_ylim()
    # half a row above the first and below the last
    axes.set_ylim(max(high, len(names) - 0.5), min(low, -0.5))
    axes.set_xlim(right=min(axes.get_xlim()[1], 1.01))  # no accuracy is above 1
    figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
    return figure


def find_phases(curves: pd.DataFrame) -> pd.DataFrame:
    """Where in `curves` a model's fine-tuning begins, behind the training of its head alone: model
    and epoch, half an epoch before the first; a row a model that has both phases."""
    if "phase" not in curves:
        return pd.DataFrame(columns=["model", "epoch"])
    begin = curves[curves["phase"] == "fine-tuning"].groupby("model", as_index=False)["epoch"].min()
    return begin.assign(epoch=begin["epoch"] - 0.5)


def plot_learning_curves(
    axes: Axes, curves: pd.DataFrame, measure: str, styles: dict[str, dict[str, Any]]
) -> None:
    """Draw `measure` by epoch: a colour and a label for each model, and a style (of matplotlib's
    plot) for each part. A style may have a colour and a label of its own. A vertical line shows
    where a model's fine-tuning begins."""
    models = curves["model"].unique()
    line, label = {"linewidth": 1, "linestyle": (0, (2, 3))}, "fine-tuning begins"
    for model, colour in zip(models, choose_colours(len(models))):
        for part, style in styles.items():
            some = curves[(curves["model"] == model) & (curves["part"] == part)]
            axes.plot(some["epoch"], some[measure], **({"color": colour, "label": model} | style))
        for begin in find_phases(curves[curves["model"] == model])["epoch"]:
            axes.axvline(begin, color=colour, label=label, **line)
            label = None  # once in the legend


@matplotlib.rc_context(STYLE)
def draw_learning_curves(
    title: str,
    curves: pd.DataFrame,
    panels: dict[str, dict[str, str]],
    styles: dict[str, dict[str, Any]],
    size: tuple[float, float],
) -> Figure:
    """A panel for each measure, with its texts; `size` in inches. `styles` as for
    `plot_learning_curves`. The legend is left to the caller."""
    figure = Figure(figsize=size, layout="constrained")
    for axes, (measure, texts) in zip(figure.subplots(1, len(panels)), panels.items()):
        plot_learning_curves(axes, curves, measure, styles)
        axes.set(xlabel="epoch", **texts)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.yaxis.get_major_formatter().set_useOffset(False)
    figure.suptitle(title)
    return figure


@matplotlib.rc_context(STYLE)
def draw_comparison(table: pd.DataFrame, selection: dict[str, Any]) -> Figure:
    """Validation and test accuracy of each model, with bars of one standard error; the threshold of
    the selection as a line, the selected model in bold."""
    style = {"capsize": 3, "markersize": 6}
    series = [
        Accuracies(
            part,
            table[f"{part}_accuracy"],
            table[f"{part}_standard_error"],
            {"color": colour, "fmt": marker, **style},
            shift,
        )
        for part, shift, colour, marker in (
            ("validation", -0.12, COLOURS[0], "o"),
            ("test", 0.12, COLOURS[1], "s"),
        )
    ]
    figure = draw_accuracies(
        f"Accuracy of the models; selected: {selection['selected']}",
        "accuracy (bars: one standard error)",
        [f"{row.model}\n{row.parameters:,} parameters" for row in table.itertuples()],
        series,
        row_height=0.45,
        threshold=("selection's threshold", selection["threshold"]),
    )
    selected = table["model"].tolist().index(selection["selected"])
    figure.axes[0].get_yticklabels()[selected].set_fontweight("bold")
    return figure


@matplotlib.rc_context(STYLE)
def draw_curves_of_models(curves: pd.DataFrame) -> Figure:
    """Accuracy and loss by epoch; a colour a model, full lines for validation, dotted ones for
    training."""
    models = curves["model"].unique()
    fitting = LEGEND_LETTERS // (max(map(len, models)) + 7)
    columns = min(max(fitting, 1), LEGEND_COLUMNS)
    more_rows = max(0, -(-len(models) // columns) - 2)
    style = {"linewidth": 1.6, "marker": ".", "markersize": 5}
    alone = {"marker": "x"} if curves["epoch"].nunique() == 1 else {}  # which makes no line
    figure = draw_learning_curves(
        f"Learning curves: validation ({'dots' if alone else 'full'}) and training "
        f"({'crosses' if alone else 'dotted'})",
        curves,
        {"accuracy": {"title": "Accuracy"}, "loss": {"title": "Loss"}},
        {
            "validation": {"linestyle": "-", **style},
            "training": {"linestyle": ":", "label": None, **style, **alone},
        },
        # the legend takes nothing from the panels
        size=(9, 4.6 + 0.2 * more_rows),
    )
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns, frameon=False)
    return figure
