"""``params.yaml`` with the hyperparameters of ``tests/example.yaml``, so that no other value
breaks a test."""

import functools
import io
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages import params

TESTS = Path(__file__).parents[1]


def set_example(content: dict[str, Any]) -> None:
    """Set the example's values in the content of a ``params.yaml``."""
    update(content, YAML(typ="safe").load(TESTS / "example.yaml"))


def update(content: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        old = content.get(key)
        other_family = isinstance(old, dict) and old.get("family") != value.get("family")
        if isinstance(old, dict) and value and not other_family:
            update(old, value)
        else:
            content[key] = value


@functools.cache
def read_example() -> str:
    """The text of this ``params.yaml``, with its comments."""
    yaml, text = YAML(), io.StringIO()
    yaml.width = 4096  # no line is broken
    content = yaml.load(TESTS.parent / "params.yaml")
    set_example(content)
    yaml.dump(content, text)
    return text.getvalue()


def load_example() -> params.Params:
    """These parameters, checked."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(read_example(), encoding="utf-8")
        return params.load(file)
