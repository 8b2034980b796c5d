"""The page in a browser, and its charts: nothing is cut, scrolls sideways or breaks inside a word
on a phone, in a small window or in a large one, with few models and classes or with many."""

import pandas as pd
import pytest
from playwright.sync_api import Browser
from support.browser import LOOKS, open_page
from support.project import Project
from support.results import write_results

from stages.drawing import charts
from stages.storage import files

# widths of windows, in pixels, for reports of so many models, classes and test images: a phone's,
# which is the hardest to fit, for each
WIDTHS = {(1, 2, 3400): (400,), (8, 10, 300): (400, 1000), (4, 100, 300): (400, 1600)}


@pytest.fixture(scope="module", params=WIDTHS, ids=lambda size: "-".join(map(str, size)))
def size(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    return request.param


@pytest.fixture(scope="module")
def results(size: tuple[int, int, int], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Reports of this size."""
    return write_results(tmp_path_factory.mktemp("results"), *size, names=True)


def test_the_page_fits_its_window(chromium: Browser, results: Project, size: tuple[int, int, int]):
    page = results.path("reports/index.html").as_uri()
    for width in WIDTHS[size]:
        with open_page(chromium, page, width, "document.readyState === 'complete'") as browser:
            assert browser.evaluate(LOOKS) == [], width


def test_a_choice_is_explained_only_among_several_models(results: Project):
    chosen = len(pd.read_csv(results.path("reports/comparison.csv"))) > 1
    page = results.path("reports/index.html").read_text(encoding="utf-8")
    assert ('<p id="why">' in page) == chosen
    card = results.path("reports/model_card.md").read_text(encoding="utf-8")
    assert ("Selected among" in card) == chosen


def test_charts_lie_completely_inside_their_pictures(results: Project):
    table = pd.read_csv(results.path("reports/comparison.csv"))
    curves = pd.read_csv(results.path("reports/learning_curves.csv"))
    selection = files.read_json(results.path("reports/selection.json"))
    for figure in (
        charts.draw_comparison(table, selection),
        charts.draw_curves_of_models(curves, dict(zip(table["model"], table["kept_epoch"]))),
    ):
        figure.draw_without_rendering()
        drawn, size = figure.get_tightbbox(), figure.get_size_inches()
        assert min(drawn.x0, drawn.y0) >= 0 and drawn.x1 <= size[0] and drawn.y1 <= size[1]
        for axes in figure.axes:  # every marker lies completely inside
            low, high = sorted(axes.get_ylim())
            for line in axes.lines:
                if line.get_marker() in ("o", "s"):
                    assert low + 0.3 < min(line.get_ydata()) and max(line.get_ydata()) < high - 0.3
