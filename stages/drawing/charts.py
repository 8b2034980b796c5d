"""The pictures of the reports, by matplotlib. Equal numbers give equal bytes: no date, no version
in the file."""

from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from stages.storage import files

matplotlib.use("agg")
DPI = 110  # pixels an inch
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


def save(figure: Figure, path: Path) -> None:
    with files.replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})


def comparison(table: pd.DataFrame, selection: dict[str, Any]) -> Figure:
    """Validation and test accuracy of each model, with bars of one standard error; the threshold of
    the selection as a line."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.4 + 0.45 * len(table)), layout="constrained")
        axes = figure.add_subplot(xlabel="accuracy (bars: one standard error)")
        places = range(len(table))
        for part, shift, colour, marker in (
            ("validation", -0.12, COLOURS[0], "o"),
            ("test", 0.12, COLOURS[1], "s"),
        ):
            axes.errorbar(
                table[f"{part}_accuracy"],
                [place + shift for place in places],
                xerr=table[f"{part}_standard_error"],
                fmt=marker,
                color=colour,
                capsize=3,
                markersize=6,
                label=part,
            )
        axes.axvline(
            selection["threshold"],
            color=COLOURS[0],
            linewidth=1,
            linestyle="--",
            label="selection's threshold",
        )
        names = [f"{row.model}\n{row.parameters:,} parameters" for row in table.itertuples()]
        axes.set_yticks(places, names)
        axes.get_yticklabels()[table["model"].tolist().index(selection["selected"])].set_fontweight(
            "bold"
        )
        axes.invert_yaxis()
        figure.suptitle(f"Accuracy of the models; selected: {selection['selected']}")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def learning_curves(curves: pd.DataFrame) -> Figure:
    """Loss and accuracy by epoch; a colour a model, full lines for validation, dotted ones for
    training."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        panels = figure.subplots(1, 2)
        models = curves["model"].unique()
        for axes, measure, title in zip(panels, ("accuracy", "loss"), ("Accuracy", "Loss")):
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            for number, model in enumerate(models):
                for part, line in (("validation", "-"), ("training", ":")):
                    some = curves[(curves["model"] == model) & (curves["part"] == part)]
                    axes.plot(
                        some["epoch"],
                        some[measure],
                        line,
                        color=COLOURS[number % len(COLOURS)],
                        linewidth=1.6,
                        label=model if part == "validation" and axes is panels[0] else None,
                    )
        figure.suptitle("Learning curves: validation (full) and training (dotted)")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
