"""What the review shows of each model: its metrics and curves in both revisions, and how its
confusion matrix changed."""

from typing import Any

import pandas as pd

from commands.reviewing import charts, noise
from commands.reviewing.comparing import Verdict
from commands.reviewing.revisions import Revision
from stages.drawing import vega

BLOCKS = "▁▂▃▄▅▆▇█"
MOST_BLOCKS = 40  # epochs that a row of blocks shows
CONFUSIONS = 3  # of a model, those that changed most


def draw_blocks(rows: list[list[float]]) -> list[str]:
    """Rows of numbers as rows of block characters, on one scale."""
    least, most = min(map(min, rows)), max(map(max, rows))
    scale = (len(BLOCKS) - 1) / (most - least) if most > least else 0
    step = max(1, -(-max(map(len, rows)) // MOST_BLOCKS))
    return [
        "".join(BLOCKS[round((value - least) * scale)] for value in row[::step]) for row in rows
    ]


def read_curves(base: Revision, head: Revision, model: str) -> pd.DataFrame | None:
    """The learning curves of both revisions in one table, with the column `revision`."""
    tables = [one.report(model, "curves.csv") for one in (base, head)]
    if any(table is None for table in tables):
        return None
    both = pd.concat(table.assign(revision=one.name) for table, one in zip(tables, (base, head)))
    return both.assign(
        **{name: pd.to_numeric(both[name], errors="coerce") for name in ("accuracy", "loss")}
    )


def count_confusion_change(base: Revision, head: Revision, model: str) -> pd.DataFrame:
    """How many images each cell of the confusion matrix has in `base` (before) and `head` (after),
    and the change."""
    counts = [
        one.report(model, "predictions.csv").value_counts(["actual", "predicted"])
        for one in (base, head)
    ]
    table = pd.concat(counts, axis=1, keys=["before", "after"]).fillna(0).astype(int).sort_index()
    return table.assign(change=table["after"] - table["before"]).reset_index()


def find_confusions(base: Revision, head: Revision, model: str) -> list[dict[str, Any]]:
    """The cells beside the confusion matrix's diagonal that changed most: actual, predicted,
    before, after, change."""
    cells = count_confusion_change(base, head, model)
    cells = cells[(cells["actual"] != cells["predicted"]) & (cells["change"] != 0)]
    return (
        cells.sort_values("change", key=abs, ascending=False, kind="stable")
        .head(CONFUSIONS)
        .to_dict("records")
    )


def describe_model(
    base: Revision | None, head: Revision, model: str, verdict: Verdict | None
) -> dict[str, Any]:
    """What the templates show of a model: its headline metrics in both revisions (None where there
    is nothing to compare with), the confusions that changed most, and its curves as blocks."""
    metrics = [
        (one.json("reports/metrics.json") or {}).get(model, {}) if one else None
        for one in (base, head)
    ]
    curves = read_curves(base, head, model) if base else None
    rows = []
    if curves is not None and verdict and verdict.words != noise.SAME:
        validation = curves[curves["part"] == "validation"]
        rows = [
            validation.loc[validation["revision"] == one.name, "accuracy"].dropna().tolist()
            for one in (base, head)
        ]
    return {
        "name": model,
        "verdict": verdict,
        "old": metrics[0],
        "new": metrics[1],
        "confusions": find_confusions(base, head, model) if verdict and verdict.difference else [],
        "blocks": draw_blocks(rows) if rows and all(rows) else [],
        "ends": [(max(row), len(row)) for row in rows if row],
    }


def draw_charts(
    base: Revision, head: Revision, verdicts: dict[str, Verdict]
) -> dict[str, vega.Spec]:
    """The charts of the page, by the id of their place in it; numbered as the models are."""
    judged = [
        {
            "model": name,
            "difference": one.difference.difference,
            "noise": one.difference.noise,
            "verdict": one.words,
        }
        for name, one in verdicts.items()
        if one.difference
    ]
    result = {"differences": charts.draw_differences(pd.DataFrame(judged))} if judged else {}
    for number, (name, verdict) in enumerate(verdicts.items()):
        curves = read_curves(base, head, name)
        if curves is None or verdict.words == noise.SAME:
            continue
        result[f"accuracy-{number}"] = vega.draw_learning_curves(curves, "accuracy", by="revision")
        result[f"loss-{number}"] = vega.draw_learning_curves(curves, "loss", by="revision")
        if verdict.difference:
            classes = head.report(name, "training.json")["class_names"]
            result[f"confusion-{number}"] = charts.draw_confusion_change(
                count_confusion_change(base, head, name), classes
            )
    return result
