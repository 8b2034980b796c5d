"""Escape text from outside (names of classes, files and models, licences, keys of results) for the
format that it is written into, one function per format.

HTML has none: the templates escape it themselves (Jinja's ``autoescape``).
"""

import json
import re
import unicodedata

JOINERS = "\u200c\u200d"  # which Persian, Indic scripts and emoji need
ZERO_WIDTH_SPACE = "\u200b"


def is_printable(letter: str) -> bool:
    """Whether a character is displayed and has no other effect: in Unicode, it is not a control,
    format (such as bidirectional controls), surrogate, private or unassigned character, nor a line
    separator."""
    return letter.isprintable() or letter in JOINERS or unicodedata.category(letter) == "Zs"


def terminal(text: object, keep: str = "") -> str:
    """Escape each character that a terminal obeys or does not show, as Python writes it, such as
    ``\\x1b``; except those in `keep`."""
    return "".join(
        letter
        if is_printable(letter) or letter in keep
        else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def markdown(text: object) -> str:
    """Escape text inside a line or a table cell of GitHub's Markdown, so that it is displayed as it
    is. An underscore inside a word is not markup, and stays. GitHub turns no URL in it into a
    link."""
    line = terminal(" ".join(str(text).split()))
    line = re.sub(r"[\\`*\[\]<>|~$@]|&(?=[#\w])|:(?=//)|(?<=www)\.", r"\\\g<0>", line)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)


def code(text: object, in_table: bool = False) -> str:
    """Text as a code span of Markdown; empty for empty text. Markdown splits a table into cells
    before it parses code, so that `in_table` a vertical bar needs a backslash."""
    line = terminal(" ".join(str(text).split()))
    if "`" in line:
        fence = "`" * (1 + max(map(len, re.findall("`+", line))))
        line = f"{fence} {line} {fence}"
    elif line:
        line = f"`{line}`"
    return line.replace("|", "\\|") if in_table else line


def as_json(value: object) -> str:
    """A value as JSON for people and programs: characters that a terminal obeys or does not show
    are JSON escapes, such as ``\\u009b``."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    return "\n".join(
        line
        if line.isprintable()
        else "".join(
            letter if is_printable(letter) else json.dumps(letter)[1:-1] for letter in line
        )
        for line in lines
    )


def spreadsheet(cell: object) -> object:
    """Escape a cell of a CSV file for spreadsheets: text that would be a formula gets an apostrophe
    in front, as OWASP advises (CSV injection)."""
    return re.sub(r"^(?='*[=+\-@\t\r])", "'", cell) if isinstance(cell, str) else cell


def from_spreadsheet(cell: str) -> str:
    """What `spreadsheet` was given."""
    return re.sub(r"^'(?='*[=+\-@\t\r])", "", cell)


def script(text: str) -> str:
    """Escape text that another program writes into a page's JavaScript, as DVC does with plots: a
    zero-width space after each ``<`` keeps it from opening or closing a tag."""
    return text.replace("<", f"<{ZERO_WIDTH_SPACE}")


def from_script(text: str) -> str:
    """Undo `script`."""
    return text.replace(f"<{ZERO_WIDTH_SPACE}", "<")
