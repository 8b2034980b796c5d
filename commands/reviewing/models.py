"""What the review shows of each model: metrics and curves in both revisions, and the change of the
confusion matrix."""

import math
from typing import Any

import pandas as pd

from commands.reviewing import charts, noise
from commands.reviewing.comparing import Verdict
from commands.reviewing.revisions import Revision
from stages.drawing import vega

BLOCKS = "▁▂▃▄▅▆▇█"
MAX_BLOCKS = 40  # in a row, one for each epoch shown
CONFUSIONS = 3  # listed for a model


def draw_blocks(rows: list[list[float]]) -> list[str]:
    """Rows of numbers as sparklines of block characters, on a common scale."""
    low, high = min(map(min, rows)), max(map(max, rows))
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0
    step = math.ceil(max(map(len, rows)) / MAX_BLOCKS)
    return ["".join(BLOCKS[round((value - low) * scale)] for value in row[::step]) for row in rows]


def read_curves(base: Revision, head: Revision, model: str) -> pd.DataFrame | None:
    """The learning curves of both revisions in one table, with the column `revision`; None if one
    revision has none, or if those in `head` are of other code, data or parameters."""
    tables = [revision.read_report(model, "curves.csv") for revision in (base, head)]
    if any(table is None for table in tables) or head.is_stale(model):
        return None
    both = pd.concat(
        table.assign(revision=revision.name) for table, revision in zip(tables, (base, head))
    )
    numbers = {name: pd.to_numeric(both[name], errors="coerce") for name in ("accuracy", "loss")}
    return both.assign(**numbers).replace([math.inf, -math.inf], math.nan)


def draw_sparklines(base: Revision, head: Revision, model: str) -> list[dict[str, Any]]:
    """The validation accuracy by epoch in both revisions as blocks, with its maximum; empty if one
    revision has none."""
    curves = read_curves(base, head, model)
    if curves is None:
        return []
    curves = curves[curves["part"] == "validation"].dropna(subset="accuracy")
    rows = [
        curves.loc[curves["revision"] == revision.name, "accuracy"].tolist()
        for revision in (base, head)
    ]
    if not all(rows):
        return []
    return [
        {"when": when, "blocks": blocks, "best": max(row), "epochs": len(row)}
        for when, blocks, row in zip(("before", "now"), draw_blocks(rows), rows)
    ]


def count_confusion_change(base: Revision, head: Revision, model: str) -> pd.DataFrame:
    """The number of images in each cell of the confusion matrix in `base` (before) and `head`
    (after), and the change."""
    counts = [
        revision.read_report(model, "predictions.csv").value_counts(["actual", "predicted"])
        for revision in (base, head)
    ]
    table = pd.concat(counts, axis=1, keys=["before", "after"]).fillna(0).astype(int).sort_index()
    return table.assign(change=table["after"] - table["before"]).reset_index()


def find_confusions(base: Revision, head: Revision, model: str) -> list[dict[str, Any]]:
    """The off-diagonal cells of the confusion matrix that changed most: actual, predicted, before,
    after, change."""
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
    """What the templates show of a model: its headline metrics in both revisions (None if there is
    no `base`), the confusions that changed most, and its curves as blocks."""
    old, new = (revision.metrics.get(model, {}) if revision else None for revision in (base, head))
    differs = verdict and verdict.words != noise.SAME
    return {
        "name": model,
        "verdict": verdict,
        "old": old,
        "new": new,
        "confusions": find_confusions(base, head, model) if verdict and verdict.difference else [],
        "sparklines": draw_sparklines(base, head, model) if differs else [],
    }


def draw_charts(
    base: Revision, head: Revision, verdicts: dict[str, Verdict]
) -> dict[str, vega.Spec]:
    """The charts of the page, by the ids of their elements, which number the models."""
    judged = [
        {
            "model": name,
            "difference": verdict.difference.difference,
            "noise": verdict.difference.noise,
            "verdict": verdict.words,
        }
        for name, verdict in verdicts.items()
        if verdict.difference
    ]
    result = {"differences": charts.draw_differences(pd.DataFrame(judged))} if judged else {}
    for number, (name, verdict) in enumerate(verdicts.items()):
        curves = read_curves(base, head, name)
        if curves is None or verdict.words == noise.SAME:
            continue
        result[f"accuracy-{number}"] = vega.draw_learning_curves(curves, "accuracy", by="revision")
        result[f"loss-{number}"] = vega.draw_learning_curves(curves, "loss", by="revision")
        if verdict.difference:
            classes = head.read_report(name, "training.json")["class_names"]
            result[f"confusion-{number}"] = charts.draw_confusion_change(
                count_confusion_change(base, head, name), classes
            )
    return result
