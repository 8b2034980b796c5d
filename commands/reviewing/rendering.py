"""Render the templates of the review as review.md and review.html."""

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
from stages.runtime.text import join_names
from stages.storage import files

TEMPLATES = Path(__file__).parent
OUTPUTS = (Path("review.md"), Path("review.html"))


@dataclass
class Content:
    """What both templates show. `missing`: a sentence on outputs that are not here; `lost`: why the
    base of the comparison is missing."""

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


def join_code(names: Iterable[object]) -> str:
    """The names as code in a list, as `join_names` makes it."""
    return join_names(map(escape.code, names))


def format_change(model: dict[str, Any], measure: str) -> str:
    """A metric before → now; a single value if both are the same, a dash for a missing one."""
    sides = [metrics for metrics in (model["old"], model["new"]) if metrics is not None]
    form = "g" if measure == "learning_rate" else ".4f"
    values = [format(metrics[measure], form) if measure in metrics else "–" for metrics in sides]
    return " → ".join(dict.fromkeys(values))


def format_cell(value: Any) -> str:
    """A parameter's name or value, as code in a Markdown table."""
    return escape.code("" if value is None else value, in_table=True)


def explain_verdicts(seeds: int | None, rate: float) -> str:
    """An explanation of the verdicts, for below the table."""
    spread = f"the spread over {seeds} seeds" if seeds else "the spread over seeds, assumed here"
    return (
        "Only the test accuracy is judged. The noise is the standard deviation of the difference "
        f"by chance alone: from another seed ({spread}), and from the test images that only one of "
        "the two networks classifies right. Verdicts are corrected for the number of models: of "
        f"changes without any effect, at most {100 * rate:g} % are called better or worse in any "
        "model (more if one model's spread over seeds is larger than the others')."
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
