"""The environment of the templates that make pages and cards."""

from pathlib import Path
from typing import Any

import jinja2

from stages.runtime import escape

TEMPLATES = Path(__file__).parent


def make_environment() -> jinja2.Environment:
    """The templates' environment: HTML is escaped, Markdown by the filters ``md`` and ``code``, and
    a name that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and "html" in name,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "list_parameters": list_parameters,
        "count": lambda number: f"{number:,}",
        "md": escape.markdown,
        "code": escape.code,
    }
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return environment


def list_parameters(section: dict[str, Any]) -> list[tuple[str, str]]:
    """A section of parameters as (key, value) in words; those that are empty are left out."""
    pairs = []
    for key, value in section.items():
        if isinstance(value, dict):
            pairs += [(f"{key}.{inner}", text) for inner, text in list_parameters(value)]
        elif value is not None:
            pairs.append(
                (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            )
    return pairs
