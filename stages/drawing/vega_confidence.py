"""Charts of one model's confidence as Vega-Lite specifications: reliability, and accuracy by
coverage."""

import pandas as pd

from stages.drawing.style import COLOURS
from stages.drawing.vega import PARTS, Spec, build_chart, build_field, build_legend


def draw_reliability(bins: pd.DataFrame) -> Spec:
    """The reliability diagram: for each bin of confidence, a bar as high as its accuracy, and a
    point at its mean confidence, sized by the number of images."""
    unit = {"domain": [0, 1], "nice": False}
    tooltip = [
        {"field": "images"},
        {"field": "confidence", "format": ".3f"},
        {"field": "accuracy", "format": ".3f"},
    ]
    return build_chart(
        bins,
        height=300,
        layer=[
            {
                "mark": {"type": "bar", "color": COLOURS[0], "opacity": 0.35, "binSpacing": 1},
                "encoding": {
                    "x": build_field(
                        "lower",
                        "confidence (probability of the predicted class)",
                        bin={"binned": True},
                        scale=unit,
                    ),
                    "x2": {"field": "upper"},
                    "y": build_field("accuracy", "accuracy", scale=unit),
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
                    "size": build_field(
                        "images",
                        "images",
                        legend=build_legend("images in the bin", map("{:,}".format, bins["images"]))
                        # of few images, Vega would list halves
                        | {"tickCount": min(5, int(bins["images"].max())), "format": ",d"},
                        scale={"range": [15, 300]},
                    ),
                    "tooltip": tooltip,
                },
            },
        ],
    )


def draw_coverage(table: pd.DataFrame) -> Spec:
    """Accuracy on the classified images by coverage, with a curve per part and a dot for each
    accepted_accuracy; `table` is from `stages.metrics.refusing.tabulate_coverage`."""
    parts = []
    for part in PARTS:
        columns = {f"{part}_{name}": name for name in ("coverage", "accuracy")}
        curve = table[["confidence", "accepted_accuracy", *columns]].rename(columns=columns)
        parts.append(curve.dropna(subset="accuracy").assign(part=part))
    rows = pd.concat(parts, ignore_index=True)
    has_dot = rows["accepted_accuracy"].notna()
    share = {"domain": [0, 1], "nice": False}
    percent = {"format": "~%", "tickCount": 5}
    encoding = {
        "x": build_field(
            "coverage", "coverage (share of images classified)", scale=share, axis=percent
        ),
        "y": build_field("accuracy", "accuracy on these", scale={"zero": False}),
        "color": build_field(
            "part",
            "part",
            "nominal",
            scale={"domain": PARTS, "range": COLOURS[: len(PARTS)]},
            legend=build_legend(None, PARTS),
        ),
        "tooltip": [
            {"field": "part"},
            {"field": "confidence", "title": "confidence threshold", "format": ".4f"},
            {"field": "coverage", "format": ".1%"},
            {"field": "accuracy", "format": ".4f"},
        ],
    }
    line = {"mark": {"type": "line", "point": {"size": 16}}}
    dots = {
        "data": {"values": rows[has_dot].to_dict("records")},
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
    }
    return build_chart(
        rows.drop(columns="accepted_accuracy"),
        height=300,
        encoding=encoding,
        layer=[line, dots] if has_dot.any() else [line],
    )
