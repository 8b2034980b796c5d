"""The types of the values and sections of ``params.yaml``, with readable error messages."""

import difflib
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)
from pydantic_core import PydanticCustomError

from stages.runtime.text import LONGEST_LINE, LONGEST_NAME, find_text_fault


def suggest(name: Any, allowed: Iterable[str]) -> str:
    """Suggest what to write instead of `name`: the closest allowed name, and all of them."""
    allowed = list(allowed)
    lower = {option.lower(): option for option in allowed}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    return (f"Did you mean {lower[near[0]]}? " if near else "") + f"Allowed: {', '.join(allowed)}"


def one_of(*allowed: str) -> Any:
    """The type of a string that is one of `allowed`."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise PydanticCustomError("one_of", suggest(value, allowed))
        return value

    return Annotated[str, BeforeValidator(check)]


Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # as numpy takes it
Rate = Annotated[float, Field(ge=0, lt=1)]


def check_key(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{,99}", name):
        text = "A name has at most 100 of a to z, 0 to 9, - and _, and begins with a to z or 0 to 9"
        if "." in name:
            text += "; DVC would take a dot for the separator of nested keys"
        raise PydanticCustomError("name", text)
    return name


def starting_with(pattern: str, message: str) -> AfterValidator:
    """A validator: a string begins with a match of the regular expression, or `message` is the
    error."""

    def check(value: str) -> str:
        if not re.match(pattern, value):
            raise PydanticCustomError("starting_with", message)
        return value

    return AfterValidator(check)


FULL_PATH = starting_with("[^~]", "~ is not expanded here: give the full path")
ADDRESS = starting_with("https?://", "An address begins with http:// or https://")

# becomes the name of a folder and of a DVC stage
Name = Annotated[str, AfterValidator(check_key)]


def one_line(longest: int) -> Any:
    """The type of a line of printable text, `longest` bytes at most; see `stages.runtime.text`."""

    def check(value: str) -> str:
        if fault := find_text_fault(value, longest):
            raise PydanticCustomError("one_line", f"It {fault}")
        return value

    return Annotated[str, AfterValidator(check)]


ClassName = one_line(LONGEST_NAME)
Line = one_line(LONGEST_LINE)


def one_or_list(kind: Any) -> Any:
    """The type of one value for all blocks, or a list with one per block."""
    which = Discriminator(lambda value: "[list]" if isinstance(value, list) else "[one]")
    return Annotated[Annotated[kind, Tag("[one]")] | Annotated[list[kind], Tag("[list]")], which]


def exactly(length: int, kind: Any) -> Any:
    """The type of a list of `length` values."""
    return Annotated[list[kind], Field(min_length=length, max_length=length)]


def is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of float
        return False


def argument(lists: bool = False, text: bool = False) -> Any:
    """The type of an argument of a Keras class: a number, true, false or null; with `lists` also a
    list of numbers, with `text` also a string."""
    allowed = ["a number", "true", "false", *["a list of numbers"] * lists, *["a text"] * text]

    def check(value: Any) -> Any:
        listed = lists and isinstance(value, list) and all(map(is_number, value))
        if not (value is None or is_number(value) or listed or text and isinstance(value, str)):
            raise PydanticCustomError("argument", f"It must be {', '.join(allowed)}, or empty")
        return value

    return Annotated[Any, BeforeValidator(check)]


class Section(BaseModel):
    """A section of ``params.yaml``: keys without a default here are required, unknown keys are
    refused, and types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
