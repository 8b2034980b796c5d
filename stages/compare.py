"""Stage compare: compare all models, and select one on validation accuracy alone.

Reads ``reports/models/``, and removes the reports of models that ``models`` no longer names.
Writes into ``reports/``:

    metrics.json                 the headline metrics of each model and its learning rate, for
                                 ``dvc metrics diff``
    comparison.csv, .md, .png    one row per model: parameters, accuracies with standard errors
    selection.json               the selected model, the digests of its files, and the rule applied
    learning_curves.csv, .png    loss and accuracy per epoch, of all models
    label_quality.csv            images whose label the models doubt, the most doubtful first
    roc.csv                      micro and macro ROC curves of all models, on the test set

Takes 2 seconds.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from stages import params
from stages.drawing import charts
from stages.metrics.label_quality import join_label_issues
from stages.metrics.scores import estimate_standard_error
from stages.runtime import cli
from stages.storage import files
from stages.storage.tables import read_table

REPORTS = Path("reports")


def tabulate(metrics: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per model, in the order of ``params.yaml``, from the models' metrics.json."""
    columns = [
        (part, name)
        for part in ("validation", "test")
        for name in ("images", "accuracy", "standard_error", "loss")
    ]
    return pd.DataFrame(
        {name: model[name] for name in ("model", "parameters", "epochs", "kept_epoch")}
        | {f"{part}_{name}": model[part][name] for part, name in columns}
        for model in metrics
    )


def select(table: pd.DataFrame, rule: str, within: float) -> dict[str, Any]:
    """Select a model by its validation accuracy; returns what selection.json says of it.

    ``best_validation_accuracy`` takes the most accurate. ``fewest_parameters`` takes the smallest
    of those at most `within` standard errors below it (ties: the more accurate, then the first):
    with 1, the one-standard-error rule of Breiman et al., Classification and Regression Trees
    (1984), 3.4.3. That standard error is Agresti and Coull's, which adds two right and two wrong
    images: the usual one would be 0 for a model that is right on all images."""
    best = table.loc[table["validation_accuracy"].idxmax()]
    threshold = best["validation_accuracy"]
    if rule == "fewest_parameters":
        images = best["validation_images"] + 4
        share = (best["validation_accuracy"] * best["validation_images"] + 2) / images
        threshold -= within * estimate_standard_error(share, images)
    candidates = table[table["validation_accuracy"] >= threshold]
    chosen = candidates.sort_values(
        ["parameters", "validation_accuracy"], ascending=[True, False], kind="stable"
    ).iloc[0]
    return {
        "selected": chosen["model"],
        "rule": rule,
        "within_standard_errors": within,
        "best_validation_accuracy": best["model"],
        "threshold": round(float(threshold), 6),
        "candidates": candidates["model"].tolist(),
    }


def format_comparison(table: pd.DataFrame, selection: dict[str, Any]) -> str:
    """The comparison as a Markdown table, with the selected model in bold."""
    lines = [
        "| model | parameters | epochs (kept) | validation accuracy | test accuracy |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in table.itertuples():
        name = f"**{row.model}**" if row.model == selection["selected"] else row.model
        validation = f"{row.validation_accuracy:.4f} ± {row.validation_standard_error:.4f}"
        test = f"{row.test_accuracy:.4f} ± {row.test_standard_error:.4f}"
        epochs = f"{row.epochs} ({row.kept_epoch})"
        lines.append(f"| {name} | {row.parameters:,} | {epochs} | {validation} | {test} |")
    if selection["rule"] == "fewest_parameters":
        within = selection["within_standard_errors"]
        why = (
            "the fewest parameters among the models whose validation accuracy is at least "
            f"{selection['threshold']:.4f}: "
            f"{within:g} standard error{'s' * (within != 1)} below the best, "
            f"{selection['best_validation_accuracy']} (Agresti and Coull's standard error: "
            "computed as if two more images were right and two more wrong)"
        )
    else:
        why = "the best validation accuracy"
    return "\n".join(
        [
            *lines,
            "",
            f"Selected: **{selection['selected']}**, {why}. ± is one standard error of that many "
            "images; the epoch in brackets is the one whose weights were kept.",
            "",
        ]
    )


def main() -> None:
    options = params.load()
    for folder in (REPORTS / "models").iterdir():
        if folder.name not in options.models:
            files.remove(folder)
    metrics = [
        files.read_json(REPORTS / "models" / model / "metrics.json") for model in options.models
    ]
    table = tabulate(metrics)
    selection = select(table, options.compare.select, options.compare.within_standard_errors)
    description = REPORTS / "models" / selection["selected"] / "training.json"
    selection["sha256"] = files.read_json(description)["file"]["sha256"]
    selection["training_sha256"] = files.sha256(description)  # so that export depends on it
    kept = {model["model"]: model["kept_epoch"] for model in metrics}
    curves, roc = (
        pd.concat(
            read_table(REPORTS / "models" / model / f"{name}.csv") for model in options.models
        )
        for name in ("curves", "roc")
    )

    headline = {
        model["model"]: {
            "test_accuracy": model["test"]["accuracy"],
            "test_loss": model["test"]["loss"],
            "validation_accuracy": model["validation"]["accuracy"],
            # missing from trainings older than this record
            **({"learning_rate": model["learning_rate"]} if "learning_rate" in model else {}),
        }
        for model in metrics
    }
    files.write_json(REPORTS / "metrics.json", headline)
    files.write_json(REPORTS / "selection.json", selection)
    files.write_csv(table, REPORTS / "comparison.csv")
    files.write_csv(curves, REPORTS / "learning_curves.csv")
    files.write_csv(roc[roc["curve"].isin(["micro", "macro"])], REPORTS / "roc.csv")
    issues = [
        read_table(REPORTS / "models" / model / "label_issues.csv") for model in options.models
    ]
    files.write_csv(join_label_issues(issues), REPORTS / "label_quality.csv")
    files.write_text(REPORTS / "comparison.md", format_comparison(table, selection))
    charts.save(charts.draw_comparison(table, selection), REPORTS / "comparison.png")
    charts.save(charts.draw_curves_of_models(curves, kept), REPORTS / "learning_curves.png")
    print(f"selected: {selection['selected']}, of {len(table)} model{'s' * (len(table) != 1)}")


if __name__ == "__main__":
    cli.run(main, __doc__)
