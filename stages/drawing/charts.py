"""Charts of the reports, by matplotlib. Equal numbers give equal bytes: files contain no date or
version."""

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

from stages.drawing.style import COLOURS, DPI, STYLE, choose_colours
from stages.storage import files

matplotlib.use("agg")
LEGEND_COLUMNS, LEGEND_LETTERS = 3, 105  # maximum columns, and letters that fit into a line


class Accuracies(NamedTuple):
    """A series of `draw_accuracies`; rows without a value are NaN."""

    label: str
    values: pd.Series
    errors: pd.Series | None  # half the length of the bars; None: no bars
    style: dict[str, Any]  # arguments of matplotlib's errorbar
    shift: float = 0  # of the dots downwards, in rows


def save(figure: Figure, path: Path) -> None:
    """Write `figure` to `path` as PNG."""
    with files.replacing(path) as partial, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
    for warning in caught:
        if "missing from font" in str(warning.message):
            note_missing_letters()
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


@functools.cache  # print it once
def note_missing_letters() -> None:
    print(
        f"note: pictures show boxes for letters that {STYLE['font.family']} lacks, such as Chinese "
        "ones; tables and pages show the letters",
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
    """A dot with an error bar for each accuracy, in a row of `row_height` inches for each name.
    `threshold` is the label and position of a vertical line."""
    figure = Figure(figsize=(9, 1.4 + row_height * len(names)), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel)
    rows = np.arange(len(names))
    for accuracies in series:
        axes.errorbar(
            accuracies.values,
            rows + accuracies.shift,
            xerr=accuracies.errors,
            label=accuracies.label,
            **accuracies.style,
        )
    if threshold:
        label, value = threshold
        axes.axvline(value, color=COLOURS[0], linewidth=1, linestyle="--", label=label)
    axes.set_yticks(rows, names)
    low, high = axes.get_ylim()
    # half a row above the first and below the last
    axes.set_ylim(max(high, len(names) - 0.5), min(low, -0.5))
    axes.set_xlim(right=min(axes.get_xlim()[1], 1.01))  # no accuracy is above 1
    figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
    return figure


def find_phases(curves: pd.DataFrame) -> pd.DataFrame:
    """Where fine-tuning begins after the training of the head, by columns model and epoch (half an
    epoch before its first); a row per model in `curves` that has both phases."""
    if "phase" not in curves:
        return pd.DataFrame(columns=["model", "epoch"])
    first = curves[curves["phase"] == "fine-tuning"].groupby("model", as_index=False)["epoch"].min()
    return first[first["epoch"] > 1].assign(epoch=first["epoch"] - 0.5)


def plot_learning_curves(
    axes: Axes,
    curves: pd.DataFrame,
    measure: str,
    styles: dict[str, dict[str, Any]],
    colours: dict[str, str] | None = None,
) -> None:
    """Draw `measure` by epoch, with a colour (of `colours`, if given) and a label for each model.
    `styles` has matplotlib's plot arguments for each part, which may override colour and label. A
    vertical line shows where a model's fine-tuning begins."""
    models = curves["model"].unique()
    line, label = {"linewidth": 1, "linestyle": (0, (2, 3))}, "fine-tuning begins"
    for model, colour in (colours or choose_colours(models)).items():
        for part, style in styles.items():
            curve = curves[(curves["model"] == model) & (curves["part"] == part)]
            axes.plot(curve["epoch"], curve[measure], **({"color": colour, "label": model} | style))
        for begin in find_phases(curves[curves["model"] == model])["epoch"]:
            axes.axvline(begin, color=colour, label=label, **line)
            label = None  # only once in the legend


@matplotlib.rc_context(STYLE)
def draw_learning_curves(
    title: str,
    curves: pd.DataFrame,
    panels: dict[str, dict[str, str]],
    styles: dict[str, dict[str, Any]],
    size: tuple[float, float],
) -> Figure:
    """Learning curves with a panel per measure; `panels` has the texts of each, `size` is in
    inches, `styles` are as for `plot_learning_curves`. The legend is left to the caller."""
    figure = Figure(figsize=size, layout="constrained")
    for axes, (measure, texts) in zip(figure.subplots(1, len(panels), sharex=True), panels.items()):
        plot_learning_curves(axes, curves, measure, styles)
        axes.set(xlabel="epoch", **texts)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.yaxis.get_major_formatter().set_useOffset(False)
    figure.suptitle(title)
    return figure


@matplotlib.rc_context(STYLE)
def draw_comparison(table: pd.DataFrame, selection: dict[str, Any]) -> Figure:
    """Validation and test accuracy of each model, with error bars of one standard error. A line
    shows the selection's threshold, and the selected model is in bold."""
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
def draw_curves_of_models(curves: pd.DataFrame, kept: dict[str, int]) -> Figure:
    """Accuracy and loss by epoch, with a colour per model: solid lines for validation, dotted ones
    for training. A ring marks the epoch whose weights are kept (`kept`, by model)."""
    models = curves["model"].unique()
    fitting = LEGEND_LETTERS // (max(map(len, models)) + 7)
    columns = min(max(fitting, 1), LEGEND_COLUMNS)
    more_rows = max(0, -(-len(models) // columns) - 2)
    style = {"linewidth": 1.6, "marker": ".", "markersize": 5}
    # a single epoch makes no line: tell the parts apart by their markers
    single_epoch = {"marker": "x"} if curves["epoch"].nunique() == 1 else {}
    figure = draw_learning_curves(
        f"Learning curves: validation ({'dots' if single_epoch else 'solid'}; rings: epochs kept), "
        f"training ({'crosses' if single_epoch else 'dotted'})",
        curves,
        {"accuracy": {"title": "Accuracy"}, "loss": {"title": "Loss"}},
        {
            "validation": {"linestyle": "-", **style},
            "training": {"linestyle": ":", "label": None, **style, **single_epoch},
        },
        # leave the panels their height, however long the legend
        size=(9, 4.6 + 0.2 * more_rows),
    )
    validation = curves[curves["part"] == "validation"]
    rings = validation[validation["epoch"] == validation["model"].map(kept)]
    colours = rings["model"].map(choose_colours(models)).tolist()
    for axes, measure in zip(figure.axes, ("accuracy", "loss")):
        ring = {"s": 70, "facecolors": "none", "edgecolors": colours, "zorder": 3}
        axes.scatter(rings["epoch"], rings[measure], **ring)
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns, frameon=False)
    return figure
