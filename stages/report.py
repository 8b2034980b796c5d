"""Stage report: one page with all results, that opens from disk without internet, and the card of the selected model.

Reads ``reports/models/``, ``reports/selection.json``, ``reports/data/``, and the test images; writes into ``reports/``:

    index.html       what was run, the comparison, learning curves, and each model: network, confusion, mistakes, ROC, calibration
    model_card.md    the selected model: data, recipe, metrics with their uncertainty, limits, weak classes, size
    mistakes.png     the test images that the selected model is most sure of and wrong about

``stages/page/`` holds the templates and what fills them. Works without TensorFlow, in 4 seconds.
"""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from stages import charts, cli, files, params, pictures
from stages.data import Prepared
from stages.page import bundle, network, thumbnails
from stages.page import charts as specs

REPORTS = Path("reports")
TEMPLATES = Path(__file__).parent / "page"
PAIRS, EXAMPLES, MISTAKES = 10, 6, 24  # shown: pairs of classes, images of each, and mistakes
WEAK = 5  # classes that the card names as the weakest


def read(model: str) -> dict[str, Any]:
    """What evaluate wrote of a model: its two JSON files, and its tables by their names."""
    folder = REPORTS / "models" / model
    tables = {
        name: pd.read_csv(folder / f"{name}.csv", keep_default_na=False, dtype={"actual": str, "predicted": str, "class": str})
        for name in ("classes", "confusion", "predictions", "calibration", "roc", "curves")
    }
    return {**{name: files.read_json(folder / f"{name}.json") for name in ("metrics", "training")}, **tables}


def wrong(predictions: pd.DataFrame) -> pd.DataFrame:
    """The mistakes, the most confident first; the index is the image's place in the test part."""
    mistakes = predictions[predictions["actual"] != predictions["predicted"]]
    return mistakes.sort_values("confidence", ascending=False, kind="stable")


def confused_pairs(predictions: pd.DataFrame) -> pd.DataFrame:
    """The pairs of classes that are confused most: actual, predicted, images, share of the actual class, and the places of some."""
    mistakes = wrong(predictions).reset_index(names="place")
    sizes = predictions["actual"].value_counts()
    pairs = mistakes.groupby(["actual", "predicted"], as_index=False).agg(
        images=("place", "size"), places=("place", lambda places: list(places[:EXAMPLES]))
    )
    pairs["share"] = pairs["images"] / pairs["actual"].map(sizes)
    return pairs.sort_values("images", ascending=False, kind="stable").head(PAIRS)


def labelled(roc: pd.DataFrame, metrics: dict[str, Any], classes: pd.DataFrame) -> pd.DataFrame:
    """The ROC curves with a label each, which gives the area under it."""
    areas = {"micro": metrics["test"]["micro_auc"], "macro": metrics["test"].get("macro_auc")}
    areas |= {f"class {row['class']}": row["auc"] for row in classes.to_dict("records")}
    labels = {curve: f"{curve} (area {float(areas[curve]):.4f})" for curve in roc["curve"].unique()}
    return roc.assign(label=roc["curve"].map(labels)).drop(columns=["curve", "model"])


def drawn(models: dict[str, dict[str, Any]], threshold: float) -> dict[str, specs.Spec]:
    """All charts of the page, by the id of their place in it."""
    accuracies = [
        {"model": name, "part": part, **{key: one["metrics"][part][key] for key in ("accuracy", "standard_error")}}
        for name, one in models.items()
        for part in ("validation", "test")
    ]
    curves = pd.concat(one["curves"] for one in models.values())
    result = {
        "comparison": specs.comparison(pd.DataFrame(accuracies), threshold),
        "accuracy": specs.learning_curves(curves, "accuracy", "accuracy"),
        "loss": specs.learning_curves(curves, "loss", "loss"),
    }
    for number, one in enumerate(models.values()):
        roc = labelled(one["roc"], one["metrics"], one["classes"])
        result |= {
            f"confusion-{number}": specs.confusion(one["confusion"]),
            f"classes-{number}": specs.classes(one["classes"]),
            f"roc-{number}": specs.roc(roc, corner=False),
            f"corner-{number}": specs.roc(roc, corner=True),
            f"reliability-{number}": specs.reliability(one["calibration"]),
        }
    return result


def described(model: dict[str, Any], images: np.ndarray) -> dict[str, Any]:
    """What the page says of a model beside its charts. `images` are the test images, uint8 (images, height, width, channels)."""
    pairs = confused_pairs(model["predictions"]).to_dict("records")
    mistakes = wrong(model["predictions"]).head(MISTAKES).reset_index(names="place").to_dict("records")
    for pair in pairs:
        pair["examples"] = [thumbnails.address(images[place]) for place in pair["places"]]
    for mistake in mistakes:
        mistake["image"] = thumbnails.address(images[mistake["place"]])
    layers = [{**layer, "kind": network.kind(layer), "shape": network.shape(layer)} for layer in model["training"]["layers"]]
    drawing = Markup(network.drawing(model["training"]["layers"]))
    total = int((model["predictions"]["actual"] != model["predictions"]["predicted"]).sum())
    return {"pairs": pairs, "mistakes": mistakes, "mistakes_in_all": total, "layers": layers, "drawing": drawing}


def weak_classes(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The classes with the least F1, each with the class that it is most often taken for, and how often."""
    rows = model["classes"].sort_values("f1", kind="stable").head(WEAK).to_dict("records")
    for row in rows:
        cells = model["confusion"]
        others = cells[(cells["actual"] == row["class"]) & (cells["predicted"] != row["class"])]
        row["taken_for"] = others.sort_values("images", ascending=False, kind="stable").head(1).to_dict("records")
    return rows


def picture(model: dict[str, Any], name: str, images: np.ndarray) -> Any:
    """The figure of mistakes.png."""
    mistakes = wrong(model["predictions"]).head(MISTAKES)
    if mistakes.empty:  # DVC wants the file all the same
        mistakes = model["predictions"].sort_values("confidence", kind="stable").head(MISTAKES)
    captions = [f"{row.actual}\ntaken for {row.predicted}" for row in mistakes.itertuples()]
    strips = images[mistakes.index.to_numpy(dtype=int)][:, np.newaxis]
    return pictures.strips(strips, captions, 6, 1, f"{name}: the test images it is most sure of and wrong about")


def templates() -> jinja2.Environment:
    """The templates' environment: HTML is escaped, Markdown is not, and a name that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and "html" in name,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"listed": listed, "count": lambda number: f"{number:,}"}
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return environment


def listed(section: dict[str, Any]) -> list[tuple[str, str]]:
    """A section of parameters as (key, value) in words; those that are empty are left out."""
    pairs = []
    for key, value in section.items():
        if isinstance(value, dict):
            pairs += [(f"{key}.{inner}", text) for inner, text in listed(value)]
        elif value is not None:
            pairs.append((key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return pairs


def main() -> None:
    options = params.load()
    selection = files.read_json(REPORTS / "selection.json")
    models = {name: read(name) for name in options.models}
    images = Prepared().images("test")
    selected = models[selection["selected"]]
    shared = {
        "selection": selection,
        "models": models,
        "selected": selected,
        "card": files.read_json(REPORTS / "data" / "card.json"),
        "weak": weak_classes(selected),
    }
    # the pictures of describe that the page shows, where describe drew them
    drawings = {name: REPORTS / "data" / f"{name}.png" for name in ("samples", "class_balance", "augmentation")}
    page = {
        "details": {name: described(one, images) for name, one in models.items()},
        "pictures": {name: thumbnails.encoded(path.read_bytes(), "png") for name, path in drawings.items() if path.exists()},
        "charts": drawn(models, selection["threshold"]),
        "vega": Markup(bundle.javascript()),
        "style": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    }
    environment = templates()
    for name, content in (("index.html", shared | page), ("model_card.md", shared)):
        with files.replacing(REPORTS / name) as partial:
            partial.write_text(environment.get_template(f"{name}.jinja").render(content), encoding="utf-8")
    charts.save(picture(selected, selection["selected"], images), REPORTS / "mistakes.png")
    print(f"reports/index.html: {len(models)} models, {(REPORTS / 'index.html').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main, __doc__)
