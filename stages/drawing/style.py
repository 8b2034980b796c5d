"""What all charts share, those of matplotlib and those of Vega."""

import itertools
from collections.abc import Collection

DPI = 110  # pixels per inch
# most classes that a picture or a chart shows: with more, they are illegible, each adds 20 ms, and
# browsers do not draw charts of such a height
DRAWN = 100
CORNER_BEGINS = 0.05  # false positive rate: see `fit_corner`
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
}
# a palette safe for colour blindness (Okabe and Ito), then the rest of matplotlib's tab10
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
MORE_COLOURS = [  # darker or lighter shades of the same hues, for more than ten models
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


def choose_colours(models: Collection[str]) -> dict[str, str]:
    """A colour for each of `models`, which are unique; they repeat after twenty."""
    colours = COLOURS if len(models) <= len(COLOURS) else COLOURS + MORE_COLOURS
    return dict(zip(models, itertools.cycle(colours)))


def fit_corner(least: float) -> tuple[list[float], list[float]]:
    """The ranges of false and true positive rates for the upper left corner of a ROC chart, such
    that it contains part of every curve. `least` is the curves' smallest true positive rate at
    `CORNER_BEGINS`."""
    return [0, 0.2], [min(0.8, least // 0.1 / 10), 1]
