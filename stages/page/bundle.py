"""Vega, Vega-Lite and Vega-Embed in a single piece of JavaScript, so that pages draw their charts
without internet."""

import resource

import vl_convert
from markupsafe import Markup

from stages.page.templates import TEMPLATES
from stages.runtime.errors import UserError

VEGA_LITE = "6.4"
ADDRESSES = 80_000_000_000  # bytes of address space for vl-convert's JavaScript engine, which
# reserves between 60 and 70 GB (measured) without using it, and ends the process if it gets less


def bundle_javascript() -> str:
    """The libraries (BSD licence) that vl-convert contains; they define ``window.vegaEmbed``.
    Raises `UserError` if the limit on address space would make vl-convert end the process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < ADDRESSES:
        raise UserError(
            f"the charts' JavaScript engine reserves {ADDRESSES // 10**9} GB of addresses (not "
            f"of memory), and the limit is {limit / 1e9:.1f} GB: raise it (`ulimit -v unlimited`); "
            "to bound memory, use control groups (`systemd-run -p MemoryMax=4G`)"
        )
    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)


def read_assets() -> dict[str, Markup]:
    """What every page with charts contains: the libraries, our style sheet and our script."""
    return {
        "vega": Markup(bundle_javascript()),
        "style": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    }


def fill_plots_page() -> str:
    """The template of DVC's pages, with the libraries inserted."""
    template = (TEMPLATES / "plots.html").read_text(encoding="utf-8")
    return template.replace("VEGA\n", f"{bundle_javascript()}\n", 1)
