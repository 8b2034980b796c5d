"""Names of the members of a source, with ``/`` between their parts."""

import re
from pathlib import Path

from stages.runtime.text import LONGEST_PATH, find_text_fault, printable


def normalise_name(name: str, is_folder: bool = False) -> str:
    """Normalise a name as `survey` does: without empty parts and ``.``; that of a folder ends in a
    slash."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join([*parts, ""] if is_folder and parts else parts)


def format_member(path: Path, name: str) -> str:
    """A member of the source at `path`, for a message."""
    return f"{path}: '{printable(name)}'"


def find_name_fault(name: str) -> str | None:
    """Why a member of this name is refused; None if it is not."""
    if name.startswith("/") or re.match(r"[A-Za-z]:[/\\]", name):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of the archive by .."
    if fault := find_text_fault(name, LONGEST_PATH):
        return fault
    parts = (part for part in name.split("/") if part)
    return next((fault for part in parts if (fault := find_text_fault(part))), None)
