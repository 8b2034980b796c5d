"""Regenerate ``stages/page/vega.js``, the libraries that draw the charts of all pages, and with it
``.dvc/plots.html``, the template of ``dvc plots show`` and ``dvc plots diff``, after an update of
vl-convert-python.

Both are in git, so pages are made and drawn without internet access.
"""

from pathlib import Path

import vl_convert

from stages.page.bundle import fill_plots_page
from stages.runtime import cli
from stages.storage import files

VEGA_LITE = "6.4"
LIBRARIES = Path("stages/page/vega.js")
PAGE = Path(".dvc/plots.html")  # named in .dvc/config


def bundle_libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed, which vl-convert contains, as one piece of JavaScript."""
    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)


def main() -> None:
    cli.require_project()
    files.write_text(LIBRARIES, bundle_libraries())
    files.write_text(PAGE, fill_plots_page())
    for path in (LIBRARIES, PAGE):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main, __doc__)
