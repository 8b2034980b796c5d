"""Dotted keys of ``params.yaml``, such as train.optimizer."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError

from stages.params import Problem, explain, join_keys
from stages.params.reading import look_up
from stages.params.schema import Params


def set_all(settings: dict[str, Any], values: dict[str, Any]) -> None:
    """Set dotted keys in `values`. Raises `KeyError` with the name of a missing section."""
    for key, value in settings.items():
        section, _, last = key.rpartition(".")
        content = look_up(section, values) if section else values
        if not isinstance(content, dict):
            raise KeyError(section)
        content[last] = value


def rewrite(text: str, path: str, change: Callable[[dict[str, Any]], None]) -> str:
    """The `text` of the YAML file at `path` after `change` has modified its values; comments are
    kept, and it is formatted as DVC does."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    values = parse_yaml_for_update(text, path)
    change(values)
    return dumps_yaml(values)


def list_problems(settings: dict[str, Any], base: dict[str, Any]) -> list[Problem]:
    """What is wrong by the schema of ``params.yaml`` once all `settings` are set in `base`. Raises
    `KeyError` like `set_all`."""
    values = copy.deepcopy(base)
    set_all(settings, values)
    try:
        Params.model_validate(values)
    except ValidationError as error:
        return [explain(details, values, Params) for details in error.errors()]
    return []


def find_conflict(settings: dict[str, Any], base: dict[str, Any]) -> str | None:
    """The first of `list_problems` as a sentence, or None."""
    return next(
        (f"{join_keys(place)}: {what}" for place, what in list_problems(settings, base)), None
    )


def leave_out(keys: Iterable[str], values: dict[str, Any]) -> dict[str, Any]:
    """A copy of `values` without these dotted keys."""
    values = copy.deepcopy(values)
    for key in keys:
        section, _, last = key.rpartition(".")
        content = look_up(section, values)
        if isinstance(content, dict):
            content.pop(last, None)
    return values
