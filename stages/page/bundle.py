"""What every page with charts contains, so that it draws them without internet."""

from markupsafe import Markup

from stages.page.templates import TEMPLATES


def read_javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed (BSD licence), which define ``window.vegaEmbed``. ``make
    plots-page`` writes the file; it is in git, since vl-convert takes two seconds to make it."""
    return (TEMPLATES / "vega.js").read_text(encoding="utf-8")


def read_assets() -> dict[str, Markup]:
    """The libraries, our style sheet and our script."""
    return {
        "vega": Markup(read_javascript()),
        "style": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    }


def fill_plots_page() -> str:
    """The template of DVC's pages, with the libraries inserted."""
    template = (TEMPLATES / "plots.html").read_text(encoding="utf-8")
    return template.replace("VEGA\n", f"{read_javascript()}\n", 1)
