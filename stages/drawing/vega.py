"""The page's charts as Vega-Lite specifications, plain dicts
(https://vega.github.io/vega-lite/docs/).

Colours of text and lines are the page's, light or dark. Widths follow the page ("container"), but
for charts with a step for each class, which the page lets scroll.
"""

from typing import Any

import pandas as pd

from stages.drawing.charts import COLOURS

Spec = dict[str, Any]
FEW, MANY = (
    12,
    40,
)  # classes: up to FEW the cells of a matrix carry numbers; above MANY everything is drawn smaller
ACCURACY = {
    "type": "quantitative",
    "title": "accuracy",
    "scale": {"zero": False},
    "axis": {"format": ".3f"},
}
PARTS = {
    "type": "nominal",
    "title": "part",
    "sort": ["validation", "test"],
    "scale": {"range": COLOURS[:2]},
}


def chart(table: pd.DataFrame, **content: Any) -> Spec:
    """A specification with its data in it."""
    return {"data": {"values": table.to_dict("records")}, "width": "container", **content}


def field(name: str, title: str, kind: str = "quantitative", **more: Any) -> Spec:
    return {"field": name, "type": kind, "title": title, **more}


def legend(title: str | None, columns: int = 2) -> Spec:
    return {
        "orient": "bottom",
        "title": title,
        "columns": columns,
        "labelLimit": 240,
        "symbolStrokeWidth": 3,
    }


def comparison(table: pd.DataFrame, threshold: float) -> Spec:
    """Accuracy of each model and part with its standard error; `table` has model, part, accuracy,
    standard_error."""
    table = table.assign(
        low=table["accuracy"] - table["standard_error"],
        high=table["accuracy"] + table["standard_error"],
    )
    place = {
        "y": field(
            "model", "", "nominal", sort=None, axis={"labelLimit": 200, "title": None, "grid": True}
        ),
        "yOffset": {"field": "part", "sort": ["validation", "test"]},
        "color": {"field": "part", **PARTS, "legend": legend(None)},
        "tooltip": [
            {"field": "model"},
            {"field": "part"},
            {"field": "accuracy", "format": ".4f"},
            {"field": "standard_error", "format": ".4f"},
        ],
    }
    bars = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": place | {"x": {"field": "low", **ACCURACY}, "x2": {"field": "high"}},
    }
    points = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
        "encoding": place | {"x": {"field": "accuracy", **ACCURACY}},
    }
    line = {
        "data": {"values": [{"threshold": threshold}]},
        "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": COLOURS[0]},
        "encoding": {
            "x": {"field": "threshold", **ACCURACY},
            "tooltip": field("threshold", "threshold of the selection"),
        },
    }
    return chart(table, height=14 * len(table), layer=[bars, points, line])


def learning_curves(curves: pd.DataFrame, measure: str, unit: str) -> Spec:
    """`measure` (a column: accuracy or loss) by epoch of all models; a click in the legend shows
    one of them."""
    models = curves["model"].unique().tolist()
    colours = {
        "domain": models,
        "range": [COLOURS[number % len(COLOURS)] for number in range(len(models))],
    }
    return chart(
        curves[["model", "epoch", "part", measure]],
        height=300,
        params=[
            {"name": "chosen", "select": {"type": "point", "fields": ["model"]}, "bind": "legend"}
        ],
        mark={"type": "line", "point": {"size": 16}},
        encoding={
            "x": field("epoch", "epoch", axis={"tickMinStep": 1, "format": "d", "grid": False}),
            "y": field(measure, unit, scale={"zero": False}),
            "color": field(
                "model", "model", "nominal", scale=colours, legend=legend("model (click one)")
            ),
            "strokeDash": field(
                "part",
                "part",
                "nominal",
                legend=None,
                scale={"domain": ["validation", "training"], "range": [[1, 0], [4, 3]]},
            ),
            "opacity": {"condition": {"param": "chosen", "value": 1}, "value": 0.08},
            "tooltip": [
                {"field": "model"},
                {"field": "part"},
                {"field": "epoch"},
                {"field": measure, "format": ".4f"},
            ],
        },
    )


def confusion(cells: pd.DataFrame) -> Spec:
    """The confusion matrix: blue where the prediction is right, red where wrong, the stronger the
    larger the share of the class."""
    classes = cells["actual"].nunique()
    order = cells["actual"].drop_duplicates().tolist()
    cells = cells[cells["images"] > 0].assign(right=cells["actual"] == cells["predicted"])
    step, size = (28, 11) if classes <= FEW else (18, 10) if classes <= MANY else (11, 9)
    axis = {
        "labelFontSize": size,
        "labelOverlap": False,
        "labelLimit": 130,
        "ticks": classes <= FEW,
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
        {"field": "predicted"},
        {"field": "images"},
        {"field": "share", "title": "share of the true class", "format": ".1%"},
    ]
    colour = {
        "field": "right",
        "type": "nominal",
        "scale": {"domain": [True, False], "range": COLOURS[:2]},
        "legend": None,
    }
    shade = {
        "field": "share",
        "type": "quantitative",
        "legend": None,
        "scale": {"type": "sqrt", "domain": [0, 1], "range": [0.04, 1]},
    }
    rectangles = {
        "mark": "rect",
        "encoding": {"color": colour, "opacity": shade, "tooltip": tooltip},
    }
    numbers = {
        "mark": {"type": "text", "fontSize": 10},
        "encoding": {"text": {"field": "images"}, "tooltip": tooltip},
    }
    numbers["encoding"]["color"] = {
        "condition": {"test": "datum.share > 0.35", "value": "white"},
        "value": {"page": "text"},  # page.js puts its colour there
    }
    layers = [rectangles, numbers] if classes <= FEW else [rectangles]
    return chart(cells, encoding=axes, layer=layers) | {
        "width": {"step": step},
        "height": {"step": step},
    }


def roc(curves: pd.DataFrame, corner: bool) -> Spec:
    """ROC curves; `curves` has label, false_positive_rate, true_positive_rate. With `corner`, the
    upper left one alone."""
    labels = curves["label"].unique().tolist()
    least = (
        curves.loc[curves["false_positive_rate"] <= 0.05]
        .groupby("label")["true_positive_rate"]
        .max()
        .min()
    )
    domains = ([0, 0.2], [min(0.8, least // 0.1 / 10), 1]) if corner else ([0, 1], [0, 1])
    axes = [
        field(
            f"{kind}_positive_rate",
            f"{kind} positive rate",
            scale={"domain": domain, "nice": False},
            axis={"tickCount": 5},
        )
        for kind, domain in zip(("false", "true"), domains)
    ]
    dashes = {"domain": labels, "range": [[1, 0], [6, 3]] + [[2, 2]] * (len(labels) - 2)}
    return chart(
        curves,
        height=300,
        mark={"type": "line", "interpolate": "step-after", "clip": True},
        encoding={
            "x": axes[0],
            "y": axes[1],
            "color": field(
                "label",
                "curve",
                "nominal",
                scale={"domain": labels, "range": COLOURS},
                legend=legend(None, 1),
            ),
            "strokeDash": field("label", "curve", "nominal", scale=dashes, legend=legend(None, 1)),
            "tooltip": [
                {"field": "label", "title": "curve"},
                {"field": "false_positive_rate"},
                {"field": "true_positive_rate"},
            ],
        },
    )


def reliability(bins: pd.DataFrame) -> Spec:
    """The reliability diagram: accuracy of each bin of confidence as a bar, its mean confidence as
    a point sized by its images."""
    unit = {"domain": [0, 1], "nice": False}
    tooltip = [
        {"field": "images"},
        {"field": "confidence", "format": ".3f"},
        {"field": "accuracy", "format": ".3f"},
    ]
    return chart(
        bins,
        height=300,
        layer=[
            {
                "mark": {"type": "bar", "color": COLOURS[0], "opacity": 0.35, "binSpacing": 1},
                "encoding": {
                    "x": field(
                        "lower",
                        "confidence (probability of the predicted class)",
                        bin={"binned": True},
                        scale=unit,
                    ),
                    "x2": {"field": "upper"},
                    "y": field("accuracy", "accuracy", scale=unit),
                    "tooltip": tooltip,
                },
            },
            {
                "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
                "mark": {"type": "line", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": "gray"},
                "encoding": {
                    "x": {"field": "x", "type": "quantitative"},
                    "y": {"field": "y", "type": "quantitative"},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "opacity": 1, "color": COLOURS[1]},
                "encoding": {
                    "x": {"field": "confidence", "type": "quantitative"},
                    "y": {"field": "accuracy", "type": "quantitative"},
                    "size": field(
                        "images",
                        "images",
                        legend=legend("images in the bin", 4),
                        scale={"range": [15, 300]},
                    ),
                    "tooltip": tooltip,
                },
            },
        ],
    )


def classes(table: pd.DataFrame) -> Spec:
    """F1 of each class as a bar, the worst first, precision and recall as marks on it."""
    order = table.sort_values("f1", kind="stable")["class"].tolist()
    step, size = (22, 11) if len(order) <= MANY else (12, 9)
    long = table.melt(["class"], ["precision", "recall"], "measure", "value")
    axis = {"labelFontSize": size, "labelOverlap": False, "labelLimit": 130, "title": None}
    place = field("class", "class", "nominal", sort=order, axis=axis)
    tooltip = [{"field": "class"}] + [
        {"field": name, "format": ".3f"} for name in ("precision", "recall", "f1", "auc")
    ]
    return chart(
        table,
        height=step * len(table),
        encoding={"y": place},
        layer=[
            {
                "mark": {"type": "bar", "color": COLOURS[0], "opacity": 0.35},
                "encoding": {
                    "x": field(
                        "f1", "F1 (bar), precision and recall (marks)", scale={"domain": [0, 1]}
                    ),
                    "tooltip": tooltip,
                },
            },
            {
                "data": {"values": long.to_dict("records")},
                "mark": {"type": "tick", "thickness": 3},
                "encoding": {
                    "x": {"field": "value", "type": "quantitative"},
                    "color": field(
                        "measure",
                        "measure",
                        "nominal",
                        scale={"range": COLOURS[1:3]},
                        legend=legend(None),
                    ),
                    "tooltip": [
                        {"field": "class"},
                        {"field": "measure"},
                        {"field": "value", "format": ".3f"},
                    ],
                },
            },
        ],
    )
