"""Charts of several models as Vega-Lite specifications, plain dicts
(https://vega.github.io/vega-lite/docs/), and what all charts share. Those of one model's
predictions are in `vega_predictions` and `vega_confidence`.

The page, light or dark, sets the colours of text and lines. Charts are as wide as the page
("container"), except those with a step for each class, which scroll.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from stages.drawing.charts import find_phases
from stages.drawing.style import COLOURS, DRAWN, choose_colours

Spec = dict[str, Any]
PAGE = "(containerSize()[0] || 600)"  # width available to a chart in pixels, as a Vega expression
LETTER, AXIS = 6.5, 45  # width in pixels of a letter in a label, and of an axis with numbers
ACCURACY = {"type": "quantitative", "title": "accuracy", "scale": {"zero": False}}
PARTS = ["validation", "test"]
MANY = 40  # classes: more are drawn smaller
# an axis of whole numbers. If there are only two or three, Vega still adds ticks between them: hide
# their labels
WHOLE = {"format": ",d", "tickMinStep": 1, "labelExpr": "datum.value % 1 ? '' : datum.label"}


def build_chart(table: pd.DataFrame, **content: Any) -> Spec:
    """A specification with the rows of `table` as inline data."""
    return {"data": {"values": table.to_dict("records")}, "width": "container", **content}


def build_field(name: str, title: str | list[str], kind: str = "quantitative", **more: Any) -> Spec:
    """The encoding of the column `name`, with the title of its axis or legend, or a list of its
    lines."""
    return {"field": name, "type": kind, "title": title, **more}


def fit_labels(pixels: int) -> Spec:
    """The maximum width of an axis's labels: `pixels`, or less if the chart is narrow."""
    return {"expr": f"min({pixels}, 0.4 * {PAGE})"}


def build_class_axis(classes: int) -> tuple[int, Spec]:
    """The height in pixels of a class's row, and the axis with the names of all classes; both are
    smaller for more than `MANY`."""
    step, size = (22, 11) if classes <= MANY else (12, 9)
    axis = {"labelFontSize": size, "labelOverlap": False, "labelLimit": fit_labels(130)}
    return step, {**axis, "title": None}


def build_legend(title: str | None, labels: Iterable[object]) -> Spec:
    """A legend below the chart, starting where the axis does, with as many columns as fit."""
    longest = round(LETTER * max(len(str(label)) for label in labels))
    return {
        "orient": "bottom",
        "title": title,
        "columns": {"expr": f"max(1, floor(({PAGE} - {AXIS}) / {longest + 40}))"},
        "labelLimit": {"expr": f"min({longest + 20}, {PAGE} - 40)"},
        "symbolStrokeWidth": 3,
    }


def draw_error_bars(
    table: pd.DataFrame,
    value: str,
    error: str,
    axis: Spec,
    line: tuple[str, float, str, str],
    height: int,
    **encoding: Any,
) -> Spec:
    """A dot with an error bar for each row of `table`, by its column model. `value` and `error`
    (half the bar) are columns; `axis` is the encoding of x without its field; `line` is a vertical
    line: name, position, colour, description. `height` is that of a row in pixels. `encoding` is
    added to that of dots and bars."""
    ticks = {"expr": f"clamp(floor({PAGE} / 110), 3, 10)"}
    axis = {**axis, "axis": {"format": ".3f", "tickCount": ticks, **axis.get("axis", {})}}
    table = table.assign(low=table[value] - table[error], high=table[value] + table[error])
    models = {"labelLimit": fit_labels(240), "title": None, "grid": True}
    shared = {"y": build_field("model", "", "nominal", sort=None, axis=models), **encoding}
    bars = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": shared | {"x": {"field": "low", **axis}, "x2": {"field": "high"}},
    }
    points = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
        "encoding": shared | {"x": {"field": value, **axis}},
    }
    name, position, colour, description = line
    rule = {
        "data": {"values": [{name: position}]},
        "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": colour},
        "encoding": {"x": {"field": name, **axis}, "tooltip": build_field(name, description)},
    }
    return build_chart(table, height=height * len(table), layer=[bars, points, rule])


def draw_comparison(table: pd.DataFrame, threshold: float) -> Spec:
    """Accuracy of each model and part with its standard error; `table` has columns model, part,
    accuracy, standard_error."""
    colours = {"type": "nominal", "title": "part", "sort": PARTS, "scale": {"range": COLOURS[:2]}}
    return draw_error_bars(
        table,
        "accuracy",
        "standard_error",
        ACCURACY,
        ("threshold", threshold, COLOURS[0], "threshold of the selection"),
        height=14,
        yOffset={"field": "part", "sort": PARTS},
        color={"field": "part", **colours, "legend": build_legend(None, PARTS)},
        tooltip=[
            {"field": "model"},
            {"field": "part"},
            {"field": "accuracy", "format": ".4f"},
            {"field": "standard_error", "format": ".4f"},
        ],
    )


def draw_class_balance(counts: dict[str, dict[str, int]]) -> Spec:
    """The number of images of each class in each part, as bars; `counts` by part and class. Shows
    only the first `DRAWN` classes."""
    parts, classes = list(counts), list(next(iter(counts.values())))[:DRAWN]
    rows = [
        {"class": name, "part": part, "images": counts[part][name]}
        for name in classes
        for part in parts
    ]
    step, axis = build_class_axis(len(classes))
    return build_chart(
        pd.DataFrame(rows),
        height=step * len(classes),
        mark="bar",
        encoding={
            "y": build_field("class", "class", "nominal", sort=None, axis=axis),
            "yOffset": {"field": "part", "sort": parts},
            "x": build_field("images", "images", axis=WHOLE),
            "color": build_field(
                "part",
                "part",
                "nominal",
                sort=parts,
                scale={"domain": parts, "range": COLOURS[: len(parts)]},
                legend=build_legend(None, parts),
            ),
            "tooltip": [{"field": "class"}, {"field": "part"}, {"field": "images"}],
        },
    )


def draw_learning_curves(curves: pd.DataFrame, measure: str, by: str = "model") -> Spec:
    """`measure` (such as accuracy) by epoch, with a colour for each value of the column `by`;
    `curves` has that column, epoch, part and the measure. A click in the legend highlights one of
    them. A vertical line shows where a model's fine-tuning begins."""
    values = curves[by].unique().tolist()
    colours = {"domain": values, "range": list(choose_colours(values).values())}
    legend = build_legend(f"{by} (click one)", values)
    lines = {
        "params": [
            {"name": "chosen", "select": {"type": "point", "fields": [by]}, "bind": "legend"}
        ],
        "mark": {"type": "line", "point": {"size": 24}},
        "encoding": {
            "x": build_field("epoch", "epoch", axis={**WHOLE, "grid": False}),
            "y": build_field(measure, measure.replace("_", " "), scale={"zero": False}),
            "color": build_field(by, by, "nominal", scale=colours, legend=legend),
            "strokeDash": build_field(
                "part",
                "part",
                "nominal",
                legend=None,
                scale={"domain": ["validation", "training"], "range": [[1, 0], [4, 3]]},
            ),
            "shape": build_field(
                "part",
                "part",
                "nominal",
                legend=None,
                scale={"domain": ["validation", "training"], "range": ["circle", "cross"]},
            ),
            "opacity": {"condition": {"param": "chosen", "value": 1}, "value": 0.08},
            "tooltip": [
                {"field": by},
                {"field": "part"},
                {"field": "epoch"},
                {"field": measure, "format": ".4g"},
            ],
        },
    }
    table = curves[[by, "epoch", "part", measure]]
    phases = find_phases(curves)
    if phases.empty or by != "model":
        return build_chart(table, height=300, **lines)
    rules = {
        "data": {"values": phases.to_dict("records")},
        "mark": {"type": "rule", "strokeWidth": 1.5, "strokeDash": [2, 3]},
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative"},
            "color": {"field": "model", "type": "nominal"},
            "tooltip": build_field("model", "fine-tuning begins", "nominal"),
        },
    }
    return build_chart(table, height=300, layer=[lines, rules])
