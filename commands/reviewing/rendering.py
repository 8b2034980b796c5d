"""What both templates of the review show, and the files that they become."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.reviewing.gate import Check
from commands.reviewing.revisions import Revision
from stages.drawing import vega
from stages.page import bundle
from stages.page.templates import make_environment
from stages.runtime import escape
from stages.storage import files

TEMPLATES = Path(__file__).parent
OUTPUTS = (Path("review.md"), Path("review.html"))
LISTED = 5  # names in a sentence


@dataclass
class Content:
    """What both templates show; `missing`: which outputs are not here; `lost`: why there is nothing
    to compare with, where there must be."""

    head: Revision
    messages: list[str]
    base: Revision | None = None
    parameters: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    summary: list[tuple[str, list[str]]] = field(default_factory=list)
    selected: str = ""
    others: str = ""
    seeds: int | None = None
    rate: float = 0.0
    gate: list[Check] = field(default_factory=list)
    charts: dict[str, vega.Spec] = field(default_factory=dict)
    missing: str = ""
    lost: str = ""


def join_names(names: Iterable[object]) -> str:
    """A list in words, the first ones alone where it is long."""
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(escape.code(name) for name in names[:LISTED]) + more


def format_change(model: dict[str, Any], measure: str) -> str:
    """A metric before and now, once where it is the same, a dash where there is none."""
    sides = [one for one in (model["old"], model["new"]) if one is not None]
    form = "g" if measure == "learning_rate" else ".4f"
    values = [format(one[measure], form) if measure in one else "–" for one in sides]
    return " → ".join(dict.fromkeys(values))


def format_cell(value: Any) -> str:
    """A parameter or its value as code in a Markdown table."""
    return escape.code("" if value is None else value, in_table=True)


def explain_verdicts(seeds: int | None, rate: float) -> str:
    """How the verdicts come about."""
    spread = f"the spread over {seeds} seeds" if seeds else "the spread over seeds, assumed here"
    return (
        "Only the test accuracy is judged. The noise is one standard deviation of the difference "
        "that chance alone makes: another "
        f"seed ({spread}), and the test images that only one of both networks "
        "classifies right. Verdicts are "
        "corrected for the number of models: of changes that change nothing, at most "
        f"{100 * rate:g} % are called better or worse "
        "in any model (more where a model's spread over seeds is larger than the others')."
    )


def write_pages(content: Content) -> None:
    """Write review.md and review.html."""
    environment = make_environment(TEMPLATES)
    environment.globals |= {"format_change": format_change, "explain_verdicts": explain_verdicts}
    environment.filters |= {"cell": format_cell}
    page = bundle.read_assets()
    for path in OUTPUTS:
        text = environment.get_template(f"{path.name}.jinja").render(vars(content) | page)
        files.write_text(path, text)
