"""The charts of the review as Vega-Lite specifications: both revisions in each of them."""

import pandas as pd

from stages.drawing.charts import COLOURS
from stages.drawing.vega import FEW, MANY, Spec, chart, field, legend

OLD, NEW = COLOURS[:2]


def differences(table: pd.DataFrame) -> Spec:
    """The difference of each model's test accuracy; `table` has model, difference, noise (one
    standard deviation), verdict."""
    table = table.assign(
        low=table["difference"] - table["noise"], high=table["difference"] + table["noise"]
    )
    axis = {"format": "+.3f"}
    place = {
        "y": field(
            "model", "", "nominal", sort=None, axis={"labelLimit": 200, "title": None, "grid": True}
        ),
        "tooltip": [
            {"field": "model"},
            {"field": "difference", "format": "+.4f"},
            {"field": "noise", "format": ".4f"},
            {"field": "verdict"},
        ],
    }
    title = "difference of the test accuracy (bars: one standard deviation of the noise)"
    bars = {
        "mark": {"type": "rule", "strokeWidth": 2, "color": OLD},
        "encoding": place | {"x": field("low", title, axis=axis), "x2": {"field": "high"}},
    }
    points = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "color": OLD},
        "encoding": place | {"x": field("difference", title, axis=axis)},
    }
    zero = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": "gray"},
        "encoding": {"x": field("zero", title, axis=axis)},
    }
    return chart(table, height=28 * len(table), layer=[zero, bars, points])


def curves(table: pd.DataFrame, measure: str, unit: str) -> Spec:
    """`measure` (accuracy or loss) by epoch of one model; `table` has revision, epoch, part and the
    measure."""
    revisions = table["revision"].unique().tolist()
    return chart(
        table[["revision", "epoch", "part", measure]],
        height=240,
        mark={"type": "line", "point": {"size": 16}},
        encoding={
            "x": field("epoch", "epoch", axis={"tickMinStep": 1, "format": "d", "grid": False}),
            "y": field(measure, unit, scale={"zero": False}),
            "color": field(
                "revision",
                "revision",
                "nominal",
                scale={"domain": revisions, "range": [OLD, NEW]},
                legend=legend(None, 1),
            ),
            "strokeDash": field(
                "part",
                "part",
                "nominal",
                legend=None,
                scale={"domain": ["validation", "training"], "range": [[1, 0], [4, 3]]},
            ),
            "tooltip": [
                {"field": "revision"},
                {"field": "part"},
                {"field": "epoch"},
                {"field": measure, "format": ".4f"},
            ],
        },
    )


def confusion(cells: pd.DataFrame, order: list[str]) -> Spec:
    """How many images more or less each cell of the confusion matrix has; `cells` has actual,
    predicted, before, after, change. Blue is for the better, orange for the worse: more on the
    diagonal, fewer beside it."""
    right = cells["actual"] == cells["predicted"]
    cells = cells.assign(
        good=cells["change"].where(right, -cells["change"]),
        text=cells["change"].map("{:+d}".format),
    )
    cells = cells[cells["change"] != 0]
    most = max(1, int(cells["change"].abs().max())) if len(cells) else 1
    step, size = (28, 11) if len(order) <= FEW else (18, 10) if len(order) <= MANY else (11, 9)
    axis = {
        "labelFontSize": size,
        "labelOverlap": False,
        "labelLimit": 130,
        "ticks": False,
        "domain": False,
    }
    axes = {
        "x": field(
            "predicted",
            "predicted class",
            "nominal",
            scale={"domain": order},
            axis={**axis, "labelAngle": -90},
        ),
        "y": field("actual", "true class", "nominal", scale={"domain": order}, axis=axis),
    }
    tooltip = [
        {"field": "actual", "title": "true class"},
        *({"field": name} for name in ("predicted", "before", "after", "change")),
    ]
    colour = {"condition": {"test": "datum.good > 0", "value": OLD}, "value": NEW}
    shade = {
        "field": "size",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [0, most], "range": [0.08, 1]},
    }
    cells = cells.assign(size=cells["change"].abs())
    rectangles = {
        "mark": "rect",
        "encoding": {"color": colour, "opacity": shade, "tooltip": tooltip},
    }
    numbers = {
        "mark": {"type": "text", "fontSize": 10},
        "encoding": {"text": {"field": "text"}, "tooltip": tooltip},
    }
    numbers["encoding"]["color"] = {
        "condition": {"test": f"datum.size > {0.6 * most}", "value": "white"},
        "value": {"page": "text"},  # page.js puts its colour there
    }
    layers = [rectangles, numbers] if len(order) <= FEW else [rectangles]
    return chart(cells, encoding=axes, layer=layers) | {
        "width": {"step": step},
        "height": {"step": step},
    }
