"""Dotted keys of ``params.yaml``, such as train.optimizer."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError

from stages.params import Problem, dotted, explain
from stages.params.reading import look_up
from stages.params.schema import Params


def set_all(settings: dict[str, Any], values: dict[str, Any]) -> None:
    """Set keys in `values`. Raises `KeyError` with the name of a section that is missing."""
    for key, value in settings.items():
        section, _, last = key.rpartition(".")
        place = look_up(section, values) if section else values
        if not isinstance(place, dict):
            raise KeyError(section)
        place[last] = value


def rewrite(text: str, change: Callable[[dict[str, Any]], None]) -> str:
    """The text of a YAML file after a `change` of its values, with its comments, as DVC writes
    it."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    values = parse_yaml_for_update(text, "params.yaml")
    change(values)
    return dumps_yaml(values)


def list_problems(settings: dict[str, Any], base: dict[str, Any]) -> list[Problem]:
    """What the schema of ``params.yaml`` has against `settings` together, set in `base`. Raises
    `KeyError` as `set_all` does."""
    values = copy.deepcopy(base)
    set_all(settings, values)
    try:
        Params.model_validate(values)
    except ValidationError as error:
        return [explain(details, values, Params) for details in error.errors()]
    return []


def find_conflict(settings: dict[str, Any], base: dict[str, Any]) -> str | None:
    """The first of `list_problems`, as a sentence; None where there is none."""
    return next((f"{dotted(place)}: {what}" for place, what in list_problems(settings, base)), None)


def leave_out(keys: Iterable[str], values: dict[str, Any]) -> dict[str, Any]:
    """A copy of `values` without some keys."""
    values = copy.deepcopy(values)
    for key in keys:
        section, _, last = key.rpartition(".")
        place = look_up(section, values)
        if isinstance(place, dict):
            place.pop(last, None)
    return values
