"""Labels that a model doubts: images that may be mislabelled.

By confident learning (Northcutt, Jiang and Chuang, Journal of Artificial Intelligence Research 70,
2021): a class's threshold is the mean probability that the model gives it on the images labelled
with it. An image confidently belongs to the most probable of the classes whose threshold it
reaches; its label is doubted if that is another class and so is the prediction. The model must not
have been trained on these images. The library cleanlab does this, and more.
"""

import numpy as np
import pandas as pd

DIGITS = 4  # decimals of probabilities


def find_label_issues(
    probabilities: np.ndarray, labels: np.ndarray, names: list[str], files: list[str] | None
) -> pd.DataFrame:
    """The images whose label is doubted, the most doubtful first: place (the index in the part),
    file (if `files` are given), label, suggested (a class), label_probability,
    suggested_probability.

    `probabilities` is float (images, classes), `labels` int (images,), `names` lists the classes.
    Sorted by the difference of the two probabilities (the normalised margin of Northcutt et al.).
    """
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=len(names))
    sums = np.bincount(labels, weights=own, minlength=len(names))
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    reached = probabilities >= thresholds
    suggested = np.where(reached, probabilities, -1.0).argmax(axis=1)
    predicted = probabilities.argmax(axis=1)
    places = np.flatnonzero(reached.any(axis=1) & (suggested != labels) & (predicted != labels))
    other = probabilities[places, suggested[places]]
    order = np.argsort(own[places] - other, kind="stable")
    places, other = places[order], other[order]
    columns = {
        "place": places,
        **({"file": np.take(files, places)} if files else {}),
        "label": np.take(names, labels[places]),
        "suggested": np.take(names, suggested[places]),
        "label_probability": own[places].astype(np.float64),
        "suggested_probability": other.astype(np.float64),
    }
    return pd.DataFrame(columns).round(DIGITS)


def join_label_issues(issues: list[pd.DataFrame]) -> pd.DataFrame:
    """Join the label issues of several models: part, place, file, label, suggested (by most of
    them), models (how many doubt it), label_probability (their mean), suggested_probability (the
    mean over those that suggest this class). Sorted by models, then by margin. `issues` are from
    `find_label_issues` with a column part added."""
    probabilities = ["label_probability", "suggested_probability"]
    table = pd.concat(issues, ignore_index=True)
    table = table.astype(dict.fromkeys(probabilities, float))  # object if a model doubts nothing
    keys = [name for name in ("part", "place", "file", "label") if name in table]
    suggested = table.groupby(keys, sort=False)["suggested"].transform(
        lambda classes: classes.mode()[0]
    )
    agrees = table["suggested"] == suggested
    table["suggested_probability"] = table["suggested_probability"].where(agrees)
    joined = (
        table.assign(suggested=suggested)
        .groupby([*keys, "suggested"], as_index=False, sort=False)
        .agg(
            models=("place", "size"),
            label_probability=("label_probability", "mean"),
            suggested_probability=("suggested_probability", "mean"),
        )
    )
    margin = joined["label_probability"] - joined["suggested_probability"]
    joined = joined.assign(margin=margin).sort_values(
        ["models", "margin"], ascending=[False, True], kind="stable"
    )
    return joined.drop(columns="margin").reset_index(drop=True).round(DIGITS)
