"""Read YAML that people write, within bounds that are checked before any object is made.

A few hundred bytes of YAML can stand for any number of values, by aliases of aliases ("billion
laughs"), and a few thousand brackets exhaust the parser's stack. So the parser's events are counted
first.
"""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    NodeEvent,
)

from stages.runtime.errors import UserError
from stages.runtime.text import printable

BYTES = 1_000_000  # of a file; the largest one, of the replications, has 35,000
VALUES = 100_000  # keys and values, counting each repetition by an alias
DEPTH = 30  # levels of nesting; params.yaml has 7
CONFLICT = re.compile(r"^<{7} ", re.MULTILINE)  # a conflict marker of git


def read_yaml(path: Path) -> tuple[str, Any]:
    """The text of a YAML file and its values, as DVC reads them. Raises `UserError` for a file that
    is missing, larger than `BYTES`, not YAML, or beyond `VALUES` or `DEPTH`."""
    try:
        with open(path, "rb") as file:
            content = file.read(BYTES + 1)
        if len(content) > BYTES:
            raise UserError(f"{path} has more than {BYTES:,} bytes: it is not read")
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: start the command in the folder of the project"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return text, parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> Any:
    """Parse a YAML text; messages call it `path`. Raises `UserError` if it is not YAML, or beyond
    `VALUES` or `DEPTH`."""
    try:
        refuse_bombs(text, path)
        return YAML(typ="safe").load(text)
    # ValueError for dates and numbers such as 2024-99-99, LookupError for tags such as !!bool maybe
    except (YAMLError, ValueError, LookupError) as error:
        if conflict := CONFLICT.search(text):
            line = text.count("\n", 0, conflict.start()) + 1
            raise UserError(
                f"{path}, line {line}: git could not merge two versions of this file, which are "
                "there one below the other: keep one, and delete the lines that git added"
            ) from None
        lines = (printable(line) for line in str(error).splitlines())
        raise UserError(f"{path} is not valid YAML: " + "\n".join(lines)) from None


def refuse_bombs(text: str, path: Path) -> None:
    """Raise `UserError` if `text` stands for more values, or is nested deeper, than allowed."""
    bomb = (
        f"{path} stands for more than {VALUES:,} values, or more than {DEPTH} levels, counting "
        "each repetition by an alias (*name): it is not read"
    )
    sizes: dict[str, tuple[int, int]] = {}  # values and depth of each anchor
    open_nodes: list[list] = []  # anchor, values, depth of each unclosed collection
    for event in YAML(typ="safe").parse(text):
        if isinstance(event, CollectionStartEvent):
            open_nodes.append([event.anchor, 1, 1])
            if len(open_nodes) > DEPTH:
                raise UserError(bomb)
            continue
        if isinstance(event, CollectionEndEvent):
            anchor, values, depth = open_nodes.pop()
        elif isinstance(event, AliasEvent):
            if event.anchor not in sizes:
                raise UserError(
                    f"{path}: *{printable(event.anchor)} stands for nothing, or for itself"
                )
            anchor, values, depth = None, *sizes[event.anchor]
        elif isinstance(event, NodeEvent):
            anchor, values, depth = event.anchor, 1, 1
        else:
            continue
        if anchor:
            sizes[anchor] = values, depth
        if open_nodes:
            open_nodes[-1][1] += values
            open_nodes[-1][2] = max(open_nodes[-1][2], depth + 1)
            values, depth = open_nodes[-1][1], len(open_nodes) + depth
        if values > VALUES or depth > DEPTH:
            raise UserError(bomb)


def look_up(key: str, values: dict[str, Any], default: Any = None) -> Any:
    """The value of a dotted key, such as train.optimizer; `default` if there is none."""
    value: Any = values
    for name in key.split("."):
        value = value.get(name, default) if isinstance(value, dict) else default
    return value
