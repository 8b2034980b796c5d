"""Stage report: write a page with all results, which opens from disk without internet, and the
selected model's card.

Reads ``reports/models/``, ``reports/selection.json``, ``reports/label_quality.csv``,
``reports/data/``, and the validation and test images; writes into ``reports/``:

    index.html       parameters, comparison, learning curves, and for each model: network,
                     confusion matrix, mistakes, ROC curves, calibration, coverage; images whose
                     label the models doubt
    model_card.md    the selected model: data, recipe, metrics with their uncertainty, limits, weak
                     classes, size
    mistakes.png     the selected model's most confident mistakes on the test set

``stages/page/`` holds the templates and the code that fills them. Works without TensorFlow, in 4
seconds.
"""

from stages import params
from stages.drawing import charts
from stages.drawing.style import DRAWN
from stages.images import data_uri
from stages.metrics.scores import estimate_interval
from stages.page import bundle, content
from stages.page.content import REPORTS
from stages.page.templates import make_environment
from stages.runtime import cli, inputs, progress
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared


def main() -> None:
    options = params.load()
    inputs.check_prepared(options)
    selection = files.read_json(REPORTS / "selection.json")
    if selection["selected"] not in options.models:
        raise UserError(
            f"{REPORTS}/selection.json selects {selection['selected']}, which is not among the "
            "models in params.yaml: run `dvc repro`"
        )
    models = {name: content.read_model(name) for name in options.models}
    parts = {part: Prepared().images(part) for part in ("validation", "test")}
    images = parts["test"]
    selected = models[selection["selected"]]
    shared = {
        "selection": selection,
        "models": models,
        "selected": selected,
        "card": files.read_json(REPORTS / "data" / "card.json"),
        "weak": content.find_weak_classes(selected),
    }
    # describe draws the second one only where augmentation is on
    drawings = {name: REPORTS / "data" / f"{name}.png" for name in ("samples", "augmentation")}
    page = {
        "details": {
            name: content.describe_model(model, images)
            for name, model in progress.track(models.items(), "models", "models")
        },
        "label_issues": content.describe_label_issues(parts),
        "pictures": {
            name: data_uri.encode_bytes(path.read_bytes(), "png")
            for name, path in drawings.items()
            if path.exists()
        },
        "drawn": DRAWN,
        "charts": content.draw_charts(models, selection["threshold"], shared["card"]),
        **bundle.read_assets(),
    }
    environment = make_environment()
    environment.globals["interval"] = estimate_interval
    for name, values in (("index.html", shared | page), ("model_card.md", shared)):
        files.write_text(REPORTS / name, environment.get_template(f"{name}.jinja").render(values))
    charts.save(
        content.draw_mistakes(selected, selection["selected"], images), REPORTS / "mistakes.png"
    )
    print(
        f"reports/index.html: {len(models)} model{'s' * (len(models) != 1)}, "
        f"{(REPORTS / 'index.html').stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    cli.run(main, __doc__)
