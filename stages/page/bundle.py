"""Vega, Vega-Lite and Vega-Embed in one piece of JavaScript, so that pages draw their charts without internet.

``python -m stages.page.bundle`` writes ``.dvc/plots.html`` anew, the page that ``dvc plots show`` and ``dvc plots diff`` fill. It
lies in git, so that both work in a fresh clone; run it after an update of vl-convert-python.
"""

from pathlib import Path

import vl_convert

from stages import cli, files

VEGA_LITE = "6.4"
TEMPLATE = Path(__file__).parent / "plots.html"
PAGE = Path(".dvc/plots.html")  # named in .dvc/config


def javascript() -> str:
    """The libraries (BSD licence), as vl-convert carries them; they define ``window.vegaEmbed``."""
    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)


def plots_page() -> str:
    """The template of DVC's pages, with the libraries in it."""
    return TEMPLATE.read_text(encoding="utf-8").replace("VEGA\n", f"{javascript()}\n", 1)


def main() -> None:
    with files.replacing(PAGE) as partial:
        partial.write_text(plots_page(), encoding="utf-8")
    print(f"{PAGE}: {PAGE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main, __doc__)
