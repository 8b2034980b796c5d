"""What people look at, in a browser: nothing is cut, scrolls sideways or breaks inside a word, on a
phone, a small window and a large one, with few models and classes and with many."""

from pathlib import Path

import pytest
from browser import CHROMIUM, open_page
from support.project import Project
from support.results import write_results

WIDTHS = (400, 1000, 1600)  # pixels
LOOKS = (Path(__file__).parent / "looks.js").read_text(encoding="utf-8").partition("\n")[2]


@pytest.fixture(
    scope="module", params=[(1, 2), (6, 10), (20, 100)], ids=lambda size: "-".join(map(str, size))
)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Reports of so many models and classes."""
    return write_results(tmp_path_factory.mktemp("results"), *request.param, names=True)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window(results: Project, width: int):
    page = results.path("reports/index.html").as_uri()
    with open_page(page, width, "document.readyState === 'complete'") as browser:
        assert browser.evaluate(LOOKS) == []
