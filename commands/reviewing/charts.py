"""The review's own charts, as Vega-Lite specifications."""

import pandas as pd

from stages.drawing.style import COLOURS
from stages.drawing.vega import Spec, draw_error_bars
from stages.drawing.vega_predictions import draw_matrix

OLD, NEW = COLOURS[:2]


def draw_differences(table: pd.DataFrame) -> Spec:
    """The difference of each model's test accuracy; `table` has model, difference, noise (one
    standard deviation), verdict."""
    title = ["difference of the test accuracy", "(bars: one standard deviation of the noise)"]
    return draw_error_bars(
        table,
        "difference",
        "noise",
        {"type": "quantitative", "title": title, "axis": {"format": "+.3f"}},
        ("zero", 0, "gray", "no difference"),
        height=28,
        color={"value": OLD},
        tooltip=[
            {"field": "model"},
            {"field": "difference", "format": "+.4f"},
            {"field": "noise", "format": ".4f"},
            {"field": "verdict"},
        ],
    )


def draw_confusion_change(cells: pd.DataFrame, classes: list[str]) -> Spec:
    """The change of the confusion matrix in images; `cells` has actual, predicted, before, after,
    change. Improvements are blue (more on the diagonal, fewer off it), the opposite orange."""
    cells = cells[cells["change"] != 0]
    right, size = cells["actual"] == cells["predicted"], cells["change"].abs()
    largest = int(max(size, default=1))
    return draw_matrix(
        cells.assign(
            good=cells["change"].where(right, -cells["change"]),
            text=cells["change"].map("{:+d}".format),
            size=size,
        ),
        classes,
        colour={"condition": {"test": "datum.good > 0", "value": OLD}, "value": NEW},
        shade={
            "field": "size",
            "type": "quantitative",
            "legend": None,
            "scale": {"domain": [0, largest], "range": [0.08, 1]},
        },
        text="text",
        white=f"datum.size > {0.6 * largest}",
        tooltip=[{"field": name} for name in ("before", "after", "change")],
    )
