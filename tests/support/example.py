"""``params.yaml`` with the hyperparameters of ``tests/example.yaml``: others break no test."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.params.schema import Params

TESTS = Path(__file__).parents[1]


def set_example(content: dict[str, Any]) -> None:
    """Set the example's values in the content of a ``params.yaml``."""
    update(content, YAML(typ="safe").load(TESTS / "example.yaml"))


def update(content: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            update(content[key], value)
        else:
            content[key] = value


def read_example() -> str:
    """The text of such a ``params.yaml``, with its comments."""
    yaml, text = YAML(), io.StringIO()
    yaml.width = 4096  # no line is broken
    content = yaml.load(TESTS.parent / "params.yaml")
    set_example(content)
    yaml.dump(content, text)
    return text.getvalue()


def load_example() -> Params:
    """Such parameters, checked."""
    return Params.model_validate(YAML(typ="safe").load(read_example()))
