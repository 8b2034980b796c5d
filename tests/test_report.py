"""The page, the card and DVC's plots are right, self-contained, and drawn by a browser without a
network."""

import csv
import html.parser
import json
import re
from contextlib import chdir
from itertools import product

import numpy as np
import pandas as pd
import pytest
import vl_convert
from playwright.sync_api import Browser
from sklearn import metrics
from support.browser import open_page
from support.project import ROOT, Project, copy

from commands import plots_page
from stages import compare, describe, evaluate, report
from stages.drawing import vega_confidence, vega_predictions
from stages.drawing.style import COLOURS
from stages.metrics import diagnostics
from stages.page import bundle, content, templates
from stages.runtime.errors import UserError

MODELS = ["mnist-dense", "fashion-2blocks"]

# four images of three classes; the third is mistaken for class a, with confidence
LABELS = np.array([0, 1, 2, 2])
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.1, 0.3], [0.0, 0.1, 0.9]])
NAMES = ["a", "b", "c"]


def test_the_confusion_equals_counts_made_by_hand():
    cells = diagnostics.tabulate_confusion(LABELS, PROBABILITIES.argmax(axis=1), NAMES)
    rows = [("a", "a", 1, 1.0), ("b", "b", 1, 1.0), ("c", "c", 1, 0.5), ("c", "a", 1, 0.5)]
    assert list(cells.itertuples(index=False, name=None)) == rows


def test_roc_curves_equal_values_worked_out_by_hand():
    # class a: scores 0.8 (true), 0.2, 0.6, 0.0: no false one is above. Class c: 0.3 and 0.9 (true)
    # against 0.1, 0.1
    assert diagnostics.compute_curves(PROBABILITIES, LABELS).areas.tolist() == [1, 1, 1]
    # micro: the true scores 0.8, 0.7, 0.3, 0.9; of the 8 false ones, 0.6 alone is above 0.3
    micro_curve = diagnostics.compute_micro_curve(PROBABILITIES, LABELS)
    assert metrics.auc(*micro_curve) == pytest.approx(1 - 1 / (4 * 8))
    curves = diagnostics.tabulate_roc(
        diagnostics.compute_curves(PROBABILITIES, LABELS), NAMES
    ).set_index("curve")
    micro = curves.loc["micro"].set_index("false_positive_rate")["true_positive_rate"]
    assert (
        micro[0] == 0.75
        and micro[micro.index < 1 / 8].max() == 0.75
        and micro[micro.index > 1 / 8].min() == 1
    )
    assert set(curves.index) == {"micro", "macro", "class a", "class b", "class c"}


def test_between_two_thresholds_a_roc_curve_is_straight():
    equal_scores, labels = np.full((4, 2), 0.5), np.array([0, 1, 0, 1])
    curves = diagnostics.compute_class_curves(equal_scores, labels)
    rates = np.array([0, 0.25, 1])
    assert diagnostics.average_curves(curves, rates).tolist() == rates.tolist()
    assert diagnostics.compute_curves(equal_scores, labels).areas.tolist() == [0.5, 0.5]


def test_a_class_without_images_has_no_curve():
    labels = np.array([0, 1, 0, 1])
    assert np.isnan(diagnostics.compute_curves(PROBABILITIES, labels).areas[2])
    assert (
        "class c"
        not in diagnostics.tabulate_roc(diagnostics.compute_curves(PROBABILITIES, labels), NAMES)[
            "curve"
        ].tolist()
    )


def test_mistakes_and_confused_pairs_are_listed_worst_first():
    predictions = pd.DataFrame(
        {
            "actual": list("aabbc"),
            "predicted": list("abaac"),
            "confidence": [0.9, 0.6, 0.7, 0.8, 0.5],
        },
        index=range(5),
    )
    assert content.list_mistakes(predictions).index.tolist() == [3, 2, 1]
    pair = content.find_confused_pairs(predictions).iloc[0]
    assert (pair["actual"], pair["predicted"], pair["images"], pair["share"], pair["places"]) == (
        "b",
        "a",
        2,
        1.0,
        [3, 2],
    )


def test_the_picture_of_a_model_without_mistakes_says_so(monkeypatch: pytest.MonkeyPatch):
    predictions = pd.DataFrame(
        {"actual": list("ab"), "predicted": list("ab"), "confidence": [0.9, 0.6]}
    )
    monkeypatch.setattr(content.pictures, "draw_strips", lambda *arguments: arguments)
    images = np.zeros((2, 3, 3, 1), np.uint8)
    _, captions, *_, title = content.draw_mistakes({"predictions": predictions}, "net", images)
    assert captions == ["b, 60.0%", "a, 90.0%"] and "no mistakes" in title


@pytest.mark.parametrize("name", ["learning_curves", "roc"])
def test_plots_have_the_same_colours_as_the_pictures(name: str):
    template = json.loads((ROOT / f".dvc/plots/{name}.json").read_text(encoding="utf-8"))
    for panel in template["vconcat"]:
        assert panel["spec"]["encoding"]["color"]["scale"]["range"] == COLOURS


def test_a_hundred_classes_are_all_named():
    names = [f"class-{number}" for number in range(100)]
    labels = np.repeat(np.arange(100), 3)
    # no image of the first class is predicted right
    predicted = np.where(labels == 0, 5, np.roll(labels, 1))
    cells = diagnostics.tabulate_confusion(labels, predicted, names)
    template = json.loads((ROOT / ".dvc/plots/confusion_matrix.json").read_text(encoding="utf-8"))
    filled = {
        "METRIC_X_LABEL": "x",
        "METRIC_Y_LABEL": "y",
        "METRIC_TITLE": "t",
        "METRIC_X": "predicted",
        "METRIC_Y": "actual",
    }
    text = json.dumps(template).replace(
        '"<DVC_METRIC_DATA>"', cells.assign(rev="workspace").to_json(orient="records")
    )
    for anchor, value in filled.items():
        text = text.replace(f"<DVC_{anchor}>", value)
    for specification in (vega_predictions.draw_confusion(cells), json.loads(text)):
        drawn = re.findall(r"<text[^>]*>([^<]+)</text>", vl_convert.vegalite_to_svg(specification))
        assert [
            text for text in drawn if text in names
        ] == 2 * names  # on both axes, in the order of the classes


def test_the_sizes_of_bins_are_whole_numbers_of_images():
    bins = diagnostics.tabulate_calibration(np.array([0.5, 0.9, 0.9]), np.array([0, 1, 1]), 5)
    specification = vega_confidence.draw_reliability(bins)
    specification["width"] = 400
    specification["layer"][-1]["encoding"]["size"]["legend"] |= {"columns": 4, "labelLimit": 100}
    drawing = vl_convert.vegalite_to_svg(specification)
    legend = drawing[drawing.index("role-legend-label") :]
    assert re.findall(r"<text[^>]*>([^<]+)</text>", legend) == ["0", "1", "2", "images in the bin"]


def test_pages_hold_the_installed_libraries():
    for path, expected in (
        (plots_page.LIBRARIES, plots_page.bundle_libraries()),
        (plots_page.PAGE, bundle.fill_plots_page()),
    ):
        assert (ROOT / path).read_text(encoding="utf-8") == expected, "see `make plots-page`"


class Addresses(html.parser.HTMLParser):
    """Collects the addresses that a page refers to."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value for name, value in attrs if name in ("src", "href", "srcset", "action")
        ]


def test_the_page_is_self_contained_and_reports_agree_with_the_metrics(finished: Project):
    page = finished.path("reports/index.html").read_text(encoding="utf-8")
    addresses = Addresses()
    addresses.feed(page)
    assert addresses.found and all(
        address.startswith(("#", "data:")) for address in addresses.found
    )
    metrics = {
        model: finished.read_json(f"reports/models/{model}/metrics.json") for model in MODELS
    }
    headline = finished.read_json("reports/metrics.json")
    for model, measured in metrics.items():
        assert f"{measured['parameters']:,}" in page
        assert f"{measured['test']['accuracy']:.4f}" in page
        assert headline[model] == {
            "test_accuracy": measured["test"]["accuracy"],
            "test_loss": measured["test"]["loss"],
            "validation_accuracy": measured["validation"]["accuracy"],
            "learning_rate": measured["learning_rate"],
        }
    roc = pd.read_csv(finished.path("reports/roc.csv"))
    assert {*zip(roc["model"], roc["curve"])} == {*product(MODELS, ("micro", "macro"))}
    selected = metrics[finished.find_selected()]
    card = finished.path("reports/model_card.md").read_text(encoding="utf-8")
    assert (
        f"# Model card: {selected['model']}" in card
        and f"{selected['test']['macro_f1']:.4f}" in card
    )


def test_trainings_without_recorded_learning_rates_still_have_a_page(finished: Project):
    for folder in finished.path("reports/models").iterdir():
        metrics = json.loads((folder / "metrics.json").read_text())
        del metrics["learning_rate"]
        (folder / "metrics.json").write_text(json.dumps(metrics))
        curves = pd.read_csv(folder / "curves.csv").drop(columns="learning_rate")
        curves.to_csv(folder / "curves.csv", index=False)
    for stage in ("compare", "report"):
        finished.stage(stage)
    assert "learning_rate" not in finished.path("reports/metrics.json").read_text()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_no_numbers_are_not_measured(
    finished: Project, value: float, monkeypatch: pytest.MonkeyPatch
):
    path = finished.path("models/mnist-dense/predictions.npz")
    with np.load(path) as file:
        content = dict(file)
    content["test"][7, 0] = value
    path.unlink()
    np.savez(path, **content)
    monkeypatch.chdir(finished.folder)
    with pytest.raises(UserError, match="no numbers"):
        evaluate.main("mnist-dense")


def test_a_browser_draws_every_chart_of_the_page(chromium: Browser, finished_template: Project):
    page = finished_template.path("reports/index.html").as_uri() + "#all"
    drawn = "document.querySelectorAll('.chart:not([data-drawn])').length === 0"
    with open_page(chromium, page, 390, drawn) as browser:
        assert browser.locator(".chart canvas").count() == 4 + 6 * len(MODELS)
        assert browser.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
        # wider content scrolls by itself
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390


HOSTILE = [
    "</script><script>window.pwned = true</script>",
    "<img src=x onerror='window.pwned = true'>",
    "TEXT",
    "[link](http://example.org) | <b>\n# heading",
    '=HYPERLINK("http://example.org")',
    "__proto__",
]


@pytest.fixture(scope="module")
def hostile(finished_template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project, finished, with class names that act as code or markup elsewhere."""
    project = copy(finished_template, tmp_path_factory.mktemp("hostile"))
    for pattern in ("data/prepared/data.json", "models/*/training.json"):
        for path in project.folder.glob(pattern):
            content = json.loads(path.read_text())
            content["class_names"][: len(HOSTILE)] = HOSTILE
            path.unlink()
            path.write_text(json.dumps(content))
    path = project.path("data/split/split.json")
    content = json.loads(path.read_text())
    for part in content["parts"].values():
        counts = list(part["classes"].values())
        names = [*HOSTILE, *list(part["classes"])[len(HOSTILE) :]]
        part["classes"] = dict(zip(names, counts))
    path.unlink()
    path.write_text(json.dumps(content))
    with chdir(project.folder):
        for model in MODELS:
            evaluate.main(model)
        for stage in (describe, compare, report):
            stage.main()
    return project


def test_class_names_are_plain_text_in_cards(hostile: Project):
    for name in ("reports/data/card.md", "reports/model_card.md"):
        text = hostile.path(name).read_text(encoding="utf-8")
        assert "\\[link\\](http" in text and "\\<img" in text and "\n# heading" not in text
        assert "<img" not in text.replace("\\<", "") and "<script" not in text.replace("\\<", "")


def test_class_names_are_not_formulas_in_tables(hostile: Project):
    for path in hostile.path("reports").rglob("*.csv"):
        cells = [cell for row in csv.reader(path.open(encoding="utf-8")) for cell in row]
        assert not any(cell.startswith(("=", "+", "@")) for cell in cells), path.name
    page = hostile.path("reports/index.html").read_text(encoding="utf-8")
    assert '"=HYPERLINK' in page and not re.search(r"('|&#39;|\\u0027)=HYPERLINK", page)


def test_class_names_are_plain_text_in_pages(chromium: Browser, hostile: Project):
    hostile.dvc("plots", "show")
    page = hostile.path("dvc_plots/index.html").as_uri()
    drawn = "document.querySelectorAll('[data-drawn]').length === 5"
    with open_page(chromium, page, 1400, drawn) as browser:
        assert browser.evaluate("window.pwned") is None
    page = hostile.path("reports/index.html").as_uri() + "#all"
    drawn = "document.querySelectorAll('.chart:not([data-drawn])').length === 0"
    with open_page(chromium, page, 1400, drawn) as browser:
        assert browser.evaluate("window.pwned") is None
        axis = "coloured(CHARTS['confusion-0'], 'red').data.values.map((row) => row.actual)"
        names = [name.removesuffix("\u200b") for name in browser.evaluate(axis)]
        assert set(HOSTILE) <= set(names)
        inherited = "Object.getOwnPropertyNames(Object.prototype)"
        assert set(browser.evaluate(inherited)) == set(templates.INHERITED)


# the revisions of the last chart's columns, from the left
FACETS = """async () => {
    const { view } = await vegaEmbed("#reports_roc_csv", spec);
    const walk = (item) => [item.datum?.rev, ...(item.items ?? []).flatMap(walk)];
    return [...new Set(walk(view.scenegraph().root).filter(Boolean))];
}"""


def test_a_browser_draws_what_dvc_plots_diff_writes(chromium: Browser, finished: Project):
    other = finished.path("reports/models/mnist-dense/confusion.csv").read_text()
    finished.path("reports/models/fashion-2blocks/confusion.csv").write_text(other)
    finished.dvc("plots", "diff")
    page = finished.path("dvc_plots/index.html")
    ids = re.findall(r'<div id = "([^"]+)"', page.read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids)) == 3 + len(MODELS)  # no plot twice
    drawn = f"document.querySelectorAll('[data-drawn]').length === {len(ids)}"
    with open_page(chromium, page.as_uri(), 1400, drawn) as browser:
        assert browser.locator(".vega-embed canvas").count() == len(ids)
        images = browser.evaluate("[...document.images].map((image) => image.naturalWidth > 0)")
        assert images == [True, True]  # then and now
        captions = browser.evaluate(
            "[...document.querySelectorAll('p:has(+ img)')].map((p) => p.textContent)"
        )
        assert captions == ["HEAD", "workspace"]
        assert browser.evaluate(FACETS) == ["HEAD", "workspace"]
