"""Vega, Vega-Lite and Vega-Embed in one piece of JavaScript, so that pages draw their charts
without internet."""

from pathlib import Path

import vl_convert

VEGA_LITE = "6.4"
TEMPLATE = Path(__file__).parent / "plots.html"


def bundle_javascript() -> str:
    """The libraries (BSD licence), as vl-convert carries them; they define ``window.vegaEmbed``."""
    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)


def fill_plots_page() -> str:
    """The template of DVC's pages, with the libraries in it."""
    return TEMPLATE.read_text(encoding="utf-8").replace("VEGA\n", f"{bundle_javascript()}\n", 1)
