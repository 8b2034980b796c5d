"""The Jinja environment of the templates for pages and cards."""

import json
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from stages.runtime import escape

TEMPLATES = Path(__file__).parent
INHERITED = (  # properties of JavaScript's Object.prototype
    "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__",
    "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString",
    "toString", "valueOf",
)  # fmt: skip


def make_environment(folder: Path = TEMPLATES) -> jinja2.Environment:
    """The environment of the templates in `folder`: HTML is escaped automatically, Markdown by the
    filters ``md`` and ``code``, and an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "list_parameters": list_parameters,
        "file_name": lambda path: Path(path).name,
        "count": lambda number: f"{number:,}",
        "changes": list_changes,
        "trains_head_alone": trains_head_alone,
        "breakable": make_breakable,
        "md": escape.markdown,
        "code": escape.code,
        "spans": mark_code_spans,
    }
    environment.policies["json.dumps_function"] = dump_charts
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return environment


def dump_charts(content: Any, **options: Any) -> str:
    """`content` as JSON. A string that is the name of a property of every JavaScript object gets a
    zero-width space at the end: Vega uses the values that it groups rows by as keys of objects."""
    return json.dumps(rename_inherited(content), **options)


def rename_inherited(content: Any) -> Any:
    """`content` with such strings changed, in lists and in values of dictionaries."""
    if isinstance(content, dict):
        return {key: rename_inherited(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [rename_inherited(value) for value in content]
    if isinstance(content, str) and content in INHERITED:
        return content + escape.ZERO_WIDTH_SPACE
    return content


def list_changes(augment: dict[str, Any]) -> list[tuple[str, str]]:
    """The keys of the section ``augment`` that change images, as (key, value) strings."""
    on = {key: value for key, value in augment.items() if value and key != "fill_mode"}
    return list_parameters(on | {"fill_mode": augment["fill_mode"]} if on else {})


def trains_head_alone(training: dict[str, Any]) -> bool:
    """Whether only the classifier of a pre-trained network was trained."""
    tuning = training["architecture"].get("fine_tuning") if "pretrained" in training else None
    return bool(tuning) and tuning["layers"] == "none"


def mark_code_spans(text: str) -> Markup:
    """A Markdown sentence whose only markup is code spans, as HTML."""
    pieces = re.split(r"(`+)(.+?)(?<!`)\1(?!`)", text)
    pairs = zip(pieces[::3], (code.strip(" ") for code in pieces[2::3]))
    marked = (Markup("{}<code>{}</code>").format(*pair) for pair in pairs)
    return Markup("").join([*marked, Markup.escape(pieces[-1])])


def make_breakable(text: object) -> Markup:
    """A name in HTML with line-break opportunities between its parts: after an underscore or a
    slash, after a full stop or a hyphen before a letter, and before a capital letter."""
    parts = r"(?<=[_/])(?=\w)|(?<=[.-])(?=[^\W\d])|(?<=[a-z])(?=[A-Z])"
    return Markup("<wbr>").join(re.split(parts, str(text)))


def list_parameters(section: dict[str, Any]) -> list[tuple[str, str]]:
    """A section of parameters as (key, value) strings, without empty ones."""
    pairs = []
    for key, value in section.items():
        if isinstance(value, dict):
            pairs += [(f"{key}.{inner}", text) for inner, text in list_parameters(value)]
        elif value is not None:
            pairs.append(
                (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            )
    return pairs
