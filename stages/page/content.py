"""The content of the page and the model card, from what evaluate wrote."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from stages.drawing import network, pictures, vega, vega_confidence, vega_predictions
from stages.images import data_uri
from stages.runtime import escape
from stages.storage import files
from stages.storage.tables import TEXTS, read_table

REPORTS = Path("reports")
# numbers shown: pairs of classes, images of each, mistakes, and doubtful labels
PAIRS, EXAMPLES, MISTAKES, LABEL_ISSUES = 10, 6, 24, 24
# columns of names from outside
NAMES = tuple(name for name in TEXTS if name not in ("model", "curve", "part"))
TABLES = ("classes", "confusion", "predictions", "calibration", "coverage", "roc", "curves")
WEAK = 5  # classes that the card lists as the weakest
NAME_LETTERS = 20  # of a class in a caption of mistakes.png


def read_model(model: str) -> dict[str, Any]:
    """Read what evaluate wrote of a model: its two JSON files, and its tables by name."""
    folder = REPORTS / "models" / model
    tables = {name: read_names(folder / f"{name}.csv") for name in TABLES}
    for name in ("actual", "predicted"):
        tables["confusion"][name] = tables["confusion"][name].map(escape.from_script)
    return {
        **{name: files.read_json(folder / f"{name}.json") for name in ("metrics", "training")},
        **tables,
    }


def read_names(path: Path) -> pd.DataFrame:
    """Read a table that evaluate or compare wrote, and undo the escaping of its names."""
    table = read_table(path)
    names = [name for name in NAMES if name in table]
    return table.assign(**{name: table[name].map(escape.from_spreadsheet) for name in names})


def list_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """The mistakes, the most confident first, indexed by the image's position in the test set."""
    mistakes = predictions[predictions["actual"] != predictions["predicted"]]
    return mistakes.sort_values("confidence", ascending=False, kind="stable")


def find_confused_pairs(predictions: pd.DataFrame) -> pd.DataFrame:
    """The pairs of classes that are confused most: actual, predicted, images, share of the actual
    class, and the indices of a few images."""
    mistakes = list_mistakes(predictions).reset_index(names="place")
    sizes = predictions["actual"].value_counts()
    pairs = mistakes.groupby(["actual", "predicted"], as_index=False).agg(
        images=("place", "size"), places=("place", lambda places: list(places[:EXAMPLES]))
    )
    pairs["share"] = pairs["images"] / pairs["actual"].map(sizes)
    return pairs.nlargest(PAIRS, "images")


def name_image(part: str, row: dict[str, Any]) -> str:
    """What the page calls an image: the name of its file, or its index in the part."""
    return row.get("file") or f"{part} image {row['place']}"


def describe_label_issues(images: dict[str, np.ndarray]) -> dict[str, Any]:
    """The labels that the models doubt most, each with its image, and their total number. `images`
    by part, uint8 (images, height, width, channels)."""
    table = read_names(REPORTS / "label_quality.csv")
    rows = table.head(LABEL_ISSUES).to_dict("records")
    for row in rows:
        row["image"] = data_uri.encode_array(images[row["part"]][row["place"]])
        row["name"] = name_image(row["part"], row)
    return {"shown": rows, "in_all": len(table)}


def label_roc(roc: pd.DataFrame, metrics: dict[str, Any], classes: pd.DataFrame) -> pd.DataFrame:
    """The ROC curves, each with a label that gives the area under it."""
    areas = {"micro": metrics["test"]["micro_auc"], "macro": metrics["test"]["macro_auc"]}
    areas |= {f"class {row['class']}": row["auc"] for row in classes.to_dict("records")}
    labels = {curve: f"area {float(areas[curve]):.4f}: {curve}" for curve in roc["curve"].unique()}
    return roc.assign(label=roc["curve"].map(labels)).drop(columns=["curve", "model"])


def draw_charts(
    models: dict[str, dict[str, Any]], threshold: float, card: dict[str, Any]
) -> dict[str, vega.Spec]:
    """All charts of the page, by element id; `card` is the data card's content."""
    accuracies = [
        {
            "model": name,
            "part": part,
            **{key: model["metrics"][part][key] for key in ("accuracy", "standard_error")},
        }
        for name, model in models.items()
        for part in ("validation", "test")
    ]
    curves = pd.concat(model["curves"] for model in models.values())
    result = {
        "comparison": vega.draw_comparison(pd.DataFrame(accuracies), threshold),
        "accuracy": vega.draw_learning_curves(curves, "accuracy"),
        "loss": vega.draw_learning_curves(curves, "loss"),
        "class_balance": vega.draw_class_balance(
            {part: content["classes"] for part, content in card["parts"].items()}
        ),
    }
    rates = curves.get("learning_rate")  # None if the trainings are older than this record
    if rates is not None and rates.nunique() > 1:  # there is a schedule
        once = curves[curves["part"] == "validation"]  # both parts have the same rates
        result["learning_rate"] = vega.draw_learning_curves(once, "learning_rate")
    for number, model in enumerate(models.values()):
        roc = label_roc(model["roc"], model["metrics"], model["classes"])
        result |= {
            f"confusion-{number}": vega_predictions.draw_confusion(model["confusion"]),
            f"classes-{number}": vega_predictions.draw_classes(model["classes"]),
            f"roc-{number}": vega_predictions.draw_roc(roc, corner=False),
            f"corner-{number}": vega_predictions.draw_roc(roc, corner=True),
            f"reliability-{number}": vega_confidence.draw_reliability(model["calibration"]),
            f"coverage-{number}": vega_confidence.draw_coverage(model["coverage"]),
        }
    return result


def describe_model(model: dict[str, Any], images: np.ndarray) -> dict[str, Any]:
    """What the page shows of a model besides its charts. `images` are the test images, uint8
    (images, height, width, channels)."""
    predictions, coverage = model["predictions"], model["coverage"]
    wrong = list_mistakes(predictions)
    mistakes = wrong.head(MISTAKES).reset_index(names="place").to_dict("records")
    pairs = find_confused_pairs(predictions).to_dict("records")
    for pair in pairs:
        pair["examples"] = [
            (
                data_uri.encode_array(images[place]),
                name_image("test", {"place": place, **predictions.loc[place]}),
            )
            for place in pair["places"]
        ]
    for mistake in mistakes:
        mistake["image"] = data_uri.encode_array(images[mistake["place"]])
        mistake["name"] = name_image("test", mistake)
    layers = [
        {**layer, "kind": network.classify_layer(layer), "shape": network.format_shape(layer)}
        for layer in model["training"]["layers"]
    ]
    choices = coverage[coverage["accepted_accuracy"].notna() | (coverage["confidence"] == 0)]
    return {
        "pairs": pairs,
        "choices": choices.to_dict("records"),
        "mistakes": mistakes,
        "mistakes_in_all": len(wrong),
        "layers": layers,
        "drawing": Markup(network.draw_network(model["training"]["layers"])),
    }


def find_weak_classes(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The classes with the lowest F1, each with the class that it is most often mistaken for, and
    how often."""
    rows, cells = model["classes"].nsmallest(WEAK, "f1").to_dict("records"), model["confusion"]
    for row in rows:
        others = cells[(cells["actual"] == row["class"]) & (cells["predicted"] != row["class"])]
        row["taken_for"] = others.nlargest(1, "images").to_dict("records")
    return rows


def draw_mistakes(model: dict[str, Any], name: str, images: np.ndarray) -> Figure:
    """The figure of mistakes.png."""
    shown = list_mistakes(model["predictions"]).head(MISTAKES)
    title = "the test images it is most sure of and wrong about"
    if shown.empty:  # DVC still expects the file
        shown = model["predictions"].nsmallest(MISTAKES, "confidence")
        title = "no mistakes; the test images it is least sure of"
    captions = []
    for row in shown.to_dict("records"):
        actual, predicted = (
            pictures.shorten(row[key], NAME_LETTERS) for key in ("actual", "predicted")
        )
        lines = [actual]
        if row["predicted"] != row["actual"]:
            lines.append(f"taken for {predicted}")
        confidence = f"{row['confidence']:.1%}"
        if len(lines[-1]) + len(confidence) < pictures.LETTERS:
            lines[-1] += f", {confidence}"
        else:
            lines.append(confidence)
        if "file" in row:
            lines.append(pictures.shorten(row["file"].rsplit("/", 1)[-1]))
        captions.append("\n".join(lines))
    strips = images[shown.index.to_numpy(dtype=int)][:, np.newaxis]
    return pictures.draw_strips(strips, captions, 6, 1, f"{name}: {title}")
