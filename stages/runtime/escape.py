"""Text from outside (names of classes, files and models, licences, keys of results), made safe for
the format that it is written into: one function a format.

HTML is not among them: the templates escape it themselves (``autoescape`` of Jinja).
"""

import json
import re
import unicodedata

JOINERS = "\u200c\u200d"  # which Persian, Indic scripts and emoji need
ZERO_WIDTH_SPACE = "\u200b"


def is_printable(letter: str) -> bool:
    """Whether one character shows, and does nothing else: Unicode calls it no control, format
    (bidirectional controls among them), surrogate, private or unassigned character, and no
    separator of lines."""
    return letter.isprintable() or letter in JOINERS or unicodedata.category(letter) == "Zs"


def terminal(text: object, keep: str = "") -> str:
    """A text with each character that a terminal does not show, or obeys, as Python writes it, such
    as ``\\x1b``; those in `keep` stay."""
    return "".join(
        letter
        if is_printable(letter) or letter in keep
        else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def markdown(text: object) -> str:
    """A text inside a line or a table cell of Markdown (GitHub's), where it shows as it is. An
    underscore inside a word is no markup, and stays. Nothing becomes a link by itself, as GitHub
    makes one of an address."""
    line = terminal(" ".join(str(text).split()))
    line = re.sub(r"[\\`*\[\]<>|~$@]|&(?=[#\w])|:(?=//)|(?<=www)\.", r"\\\g<0>", line)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)


def code(text: object, in_table: bool = False) -> str:
    """A text as a code span of Markdown; nothing of an empty text. A table is split into cells
    before code is looked at, so that `in_table` a vertical bar needs a backslash."""
    line = terminal(" ".join(str(text).split()))
    if "`" in line:
        fence = "`" * (1 + max(map(len, re.findall("`+", line))))
        line = f"{fence} {line} {fence}"
    elif line:
        line = f"`{line}`"
    return line.replace("|", "\\|") if in_table else line


def as_json(value: object) -> str:
    """A value as JSON for people and programs: what a terminal does not show, or obeys, is written
    as JSON writes it, such as ``\\u009b``."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    return "\n".join(
        line
        if line.isprintable()
        else "".join(one if is_printable(one) else json.dumps(one)[1:-1] for one in line)
        for line in lines
    )


def spreadsheet(cell: object) -> object:
    """A cell of a CSV file that people open in a spreadsheet: a text that the spreadsheet would
    compute begins with an apostrophe, as OWASP advises (CSV injection)."""
    return re.sub(r"^(?='*[=+\-@\t\r])", "'", cell) if isinstance(cell, str) else cell


def from_spreadsheet(cell: str) -> str:
    """What `spreadsheet` was given."""
    return re.sub(r"^'(?='*[=+\-@\t\r])", "", cell)


def script(text: str) -> str:
    """A text that another program writes into the JavaScript of a page, as DVC does with the tables
    of plots: a space of no width behind each ``<``, so that none opens or ends a tag."""
    return text.replace("<", f"<{ZERO_WIDTH_SPACE}")


def from_script(text: str) -> str:
    """What `script` was given."""
    return text.replace(f"<{ZERO_WIDTH_SPACE}", "<")
