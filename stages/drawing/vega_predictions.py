"""Charts of one model's predictions as Vega-Lite specifications: confusion matrix, ROC curves, and
metrics per class. Those of its confidence are in `stages.drawing.vega_confidence`."""

from typing import Any

import pandas as pd

from stages.drawing.style import COLOURS, CORNER_BEGINS, DRAWN, fit_corner
from stages.drawing.vega import MANY, Spec, build_chart, build_class_axis, build_field, build_legend

FEW = 12  # classes: with more, the cells of a matrix show no numbers


def draw_matrix(
    cells: pd.DataFrame,
    classes: list[str],
    colour: Spec,
    shade: Spec,
    text: str,
    white: str,
    tooltip: list[dict[str, Any]],
) -> Spec:
    """A matrix with a square for each row of `cells` (actual, predicted and more), and `classes` on
    both axes in their order. `colour` and `shade` are Vega-Lite encodings of the squares' colour
    and opacity. For few classes, each square shows the column `text`, in white if the Vega
    expression `white` is true."""
    step, size = (28, 11) if len(classes) <= FEW else (18, 10) if len(classes) <= MANY else (11, 9)
    axis = {
        "labelFontSize": size,
        "labelOverlap": False,
        "labelLimit": 130,
        "ticks": len(classes) <= FEW,
        "domain": False,
    }
    scale, upright = {"domain": classes}, {**axis, "labelAngle": -90}
    axes = {
        "x": build_field("predicted", "predicted class", "nominal", scale=scale, axis=upright),
        "y": build_field("actual", "true class", "nominal", scale=scale, axis=axis),
    }
    tooltip = [{"field": "actual", "title": "true class"}, {"field": "predicted"}, *tooltip]
    squares = {"mark": "rect", "encoding": {"color": colour, "opacity": shade, "tooltip": tooltip}}
    numbers = {
        "mark": {"type": "text", "fontSize": 10},
        "encoding": {
            "text": {"field": text},
            "tooltip": tooltip,
            "color": {"condition": {"test": white, "value": "white"}, "value": {"page": "text"}},
        },
    }
    layers = [squares, numbers] if len(classes) <= FEW else [squares]
    steps = {"width": {"step": step}, "height": {"step": step}}
    return build_chart(cells, encoding=axes, layer=layers) | steps


def draw_confusion(cells: pd.DataFrame) -> Spec:
    """The confusion matrix: blue for correct predictions, orange for mistakes, more opaque for a
    larger share of the class."""
    classes = cells["actual"].drop_duplicates().tolist()
    return draw_matrix(
        cells[cells["images"] > 0].assign(right=cells["actual"] == cells["predicted"]),
        classes,
        colour={
            "field": "right",
            "type": "nominal",
            "scale": {"domain": [True, False], "range": COLOURS[:2]},
            "legend": None,
        },
        shade={
            "field": "share",
            "type": "quantitative",
            "legend": None,
            "scale": {"type": "sqrt", "domain": [0, 1], "range": [0.04, 1]},
        },
        text="images",
        white="datum.share > 0.35",
        tooltip=[
            {"field": "images"},
            {"field": "share", "title": "share of the true class", "format": ".1%"},
        ],
    )


def draw_roc(curves: pd.DataFrame, corner: bool) -> Spec:
    """ROC curves; `curves` has columns label, false_positive_rate, true_positive_rate. With
    `corner`, only the upper left corner."""
    labels = curves["label"].unique().tolist()
    left = curves.loc[curves["false_positive_rate"] <= CORNER_BEGINS]
    domains = ([0, 1], [0, 1])
    if corner:
        domains = fit_corner(left.groupby("label")["true_positive_rate"].max().min())
    axes = [
        build_field(
            f"{kind}_positive_rate",
            f"{kind} positive rate",
            scale={"domain": domain, "nice": False},
            axis={"tickCount": 5},
        )
        for kind, domain in zip(("false", "true"), domains)
    ]
    dashes = {"domain": labels, "range": [[1, 0], [6, 3]] + [[2, 2]] * (len(labels) - 2)}
    return build_chart(
        curves,
        height=300,
        mark={"type": "line", "clip": True},
        encoding={
            "x": axes[0],
            "y": axes[1],
            "color": build_field(
                "label",
                "curve",
                "nominal",
                scale={"domain": labels, "range": COLOURS},
                legend=build_legend(None, labels),
            ),
            "strokeDash": build_field(
                "label", "curve", "nominal", scale=dashes, legend=build_legend(None, labels)
            ),
            "tooltip": [
                {"field": "label", "title": "curve"},
                {"field": "false_positive_rate"},
                {"field": "true_positive_rate"},
            ],
        },
    )


def draw_classes(table: pd.DataFrame) -> Spec:
    """F1 of each class as a bar, with precision and recall as marks on it, the worst class first.
    Shows only the worst `DRAWN` classes."""
    order = table.sort_values("f1", kind="stable")["class"].tolist()[:DRAWN]
    table = table[table["class"].isin(order)]
    step, axis = build_class_axis(len(order))
    long = table.melt(["class"], ["precision", "recall"], "measure", "value")
    y = build_field("class", "class", "nominal", sort=order, axis=axis)
    tooltip = [{"field": "class"}] + [
        {"field": name, "format": ".3f"} for name in ("precision", "recall", "f1", "auc")
    ]
    return build_chart(
        table,
        height=step * len(table),
        encoding={"y": y},
        layer=[
            {
                "mark": {"type": "bar", "color": COLOURS[0], "opacity": 0.35},
                "encoding": {
                    "x": build_field(
                        "f1", ["F1 (bar)", "precision and recall (marks)"], scale={"domain": [0, 1]}
                    ),
                    "tooltip": tooltip,
                },
            },
            {
                "data": {"values": long.to_dict("records")},
                "mark": {"type": "tick", "thickness": 3},
                "encoding": {
                    "x": {"field": "value", "type": "quantitative"},
                    "color": build_field(
                        "measure",
                        "measure",
                        "nominal",
                        scale={"range": COLOURS[1:3]},
                        legend=build_legend(None, ["precision", "recall"]),
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
