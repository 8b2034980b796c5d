"""Read ``params.yaml``: `load` checks all of it, without Keras, and reports each problem in a
line.

Every stage loads the whole file when it starts, so that a mistake shows before the first model
trains. The check can refuse a run and never changes one, so no stage has this package among its
dependencies: it converts nothing, and the few optional keys are off by default.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML

from stages.params.families import FAMILIES, Architecture
from stages.params.fields import suggest
from stages.params.reading import read_yaml
from stages.params.schema import Params
from stages.runtime.errors import UserError
from stages.runtime.text import printable

Content = TypeVar("Content", bound=BaseModel)
Entry = TypeVar("Entry")
Problem = tuple[tuple, str]  # the path of keys, and what is wrong there
FILE = Path("params.yaml")
SHOWN = 50  # problems in a message
PYDANTIC_KEYS = ("[one]", "[list]", "[key]")  # inserted by pydantic into the path of keys


def load(path: Path = FILE) -> Params:
    """Read and check the parameters. Raises `UserError` with a line for each problem: file, line
    number, key, value, and what is allowed."""
    return read_checked(path, Params, cross_check)


def read_checked(
    path: Path,
    schema: type[Content],
    cross_check: Callable[[Content], Iterable[Problem]] = lambda _: (),
) -> Content:
    """The content of the YAML file at `path`, checked by `schema` and then by `cross_check`. Raises
    `UserError` as `load` does."""
    text, values = read_yaml(path)
    try:
        content = schema.model_validate(values)
        problems = list(cross_check(content))
    except ValidationError as error:
        problems = [explain(details, values, schema) for details in error.errors()]
    if problems:
        marked = YAML().load(text)  # with line numbers
        lines = [
            f"{path}{format_line_number(marked, keys)}: {join_keys(keys) or 'the whole file'}: "
            + printable(message, 5000)
            for keys, message in problems[:SHOWN]
        ]
        if len(problems) > SHOWN:
            lines.append(f"… and {len(problems) - SHOWN:,} more")
        raise UserError("\n       ".join(lines))
    return content


def choose(name: str, section: dict[str, Entry], key: str, file: Path = FILE) -> Entry:
    """The entry `name` of the section `key` of `file`. Raises `UserError` if there is none."""
    if name not in section:
        raise UserError(f"{name!r} is not a key of {key} in {file}. {suggest(name, section)}")
    return section[name]


def cross_check(params: Params) -> Iterator[Problem]:
    """The problems that span sections, such as names in one that must be keys of another."""
    if params.dataset not in params.datasets:
        yield (
            ("dataset",),
            f"{params.dataset!r} is not a key of datasets. "
            f"{suggest(params.dataset, params.datasets)}",
        )
    for number, model in enumerate(params.models):
        if model not in params.architectures:
            yield (
                ("models", number),
                f"{model!r} is not a key of architectures. {suggest(model, params.architectures)}",
            )
    for model, count in Counter(params.models).items():
        if count > 1:
            yield ("models",), f"{model!r} is named {count} times: name it once"
    side, pixels = params.preprocess.image_size, params.download.limits.pixels
    if side and side**2 > pixels:
        yield (
            ("preprocess", "image_size"),
            f"{printable(side)}×{printable(side)} pixels are more than download.limits.pixels "
            f"allows: {pixels:,}",
        )


def explain(details: ErrorDetails, values: Any, schema: type[BaseModel]) -> Problem:
    """Translate one of pydantic's errors."""
    keys, value = locate(details), details["input"]
    match details["type"]:
        case "missing" | "union_tag_not_found":
            return keys, "this key is missing, and it has no default"
        case "union_tag_invalid":
            family = value["family"]
            return keys, f"{family!r} is not a family. {suggest(family, FAMILIES)}"
        case "extra_forbidden":
            allowed = list_allowed_keys(keys[:-1], values, schema)
            return keys, f"unknown key. {suggest(keys[-1], allowed)}"
    message = details["msg"].removeprefix("Value error, ")
    if value == "":
        message += ". For null, leave the value empty in the file, or use -S KEY=null"
    if isinstance(value, dict):
        return keys, message
    return keys, f"{printable(repr(value))} is not valid. {message}"


def locate(details: ErrorDetails) -> tuple:
    """The path of keys that one of pydantic's errors is about, without what pydantic inserts."""
    kind, path = details["type"], details["loc"]
    unknown = path[-1:] if kind == "extra_forbidden" else ()  # in the file, even "[one]"
    known = path[: len(path) - len(unknown)]
    keys = tuple(key for key in known if key not in PYDANTIC_KEYS) + unknown
    if keys[:1] == ("architectures",) and len(keys) > 2 and keys[2] in FAMILIES:
        keys = keys[:2] + keys[3:]
    return (*keys, "family") if kind.startswith("union_tag") else keys


def list_allowed_keys(keys: tuple, values: Any, schema: type[BaseModel]) -> list[str]:
    """The keys that the section at `keys` may hold."""
    section: Any = schema
    if issubclass(schema, RootModel):
        section = schema.model_fields["root"].annotation
    for key in keys:
        try:
            values = values[key]
        except LookupError:  # pydantic reports a key that is not a string as one
            return []
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[key].annotation
        else:  # the values of a dict or a list
            section = get_args(section)[-1]
        if section is Architecture:
            section = FAMILIES[values["family"]]
        elif type(None) in get_args(section):  # an optional section
            section = get_args(section)[0]
    return list(section.model_fields)


def join_keys(keys: tuple) -> str:
    """A path of keys as people write it: ``architectures.mine.layers[0]``."""
    return "".join(
        f"[{key}]" if isinstance(key, int) else f".{printable(key)}" for key in keys
    ).removeprefix(".")


def format_line_number(node: Any, keys: tuple) -> str:
    """``:LINE`` of the deepest of `keys` that exists in the file, loaded as `node`; else empty."""
    line = None
    for key in keys:
        try:
            line = node.lc.key(key)[0] if isinstance(node, dict) else node.lc.item(key)[0]
            node = node[key]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return "" if line is None else f":{line + 1}"
