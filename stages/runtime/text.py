"""Text from outside (names of classes, files, data sets and models, licences): what is allowed, and
how messages show it.

A name is one line of printable text. What the Unicode standard calls a control, format, surrogate,
private or unassigned character is refused: a newline forges a line of a table, an escape sequence
acts on a terminal, and U+202E and its like show text in another order than it is stored (Unicode
Technical Report 36, section 2.7). Allowed are the two joiners, which Persian, Indic scripts and
emoji need, and spaces of any width, which macOS writes into file names; and characters special to
HTML, Markdown or CSV, which each format escapes itself.
"""

import unicodedata
from collections.abc import Iterable

from stages.runtime.errors import UserError
from stages.runtime.escape import JOINERS, is_printable, terminal

LONGEST_NAME = 255  # characters, and bytes in UTF-8: what file systems allow for one name
LONGEST_PATH = 4096  # Linux's PATH_MAX
LONGEST_LINE = 1000  # of a licence, an address
SHOWN = 200  # characters of a text in a message


def check_name(text: str, what: str) -> str:
    """Return `text` unchanged. Raises `UserError` unless it is printable, not blank, and at most
    `LONGEST_NAME` bytes long in UTF-8; `what` begins the message and says what the text is."""
    if fault := find_text_fault(text):
        raise UserError(f"{what} '{printable(text)}' {fault}")
    return text


def first_line(error: BaseException) -> str:
    """The first line of a library's error, at most `SHOWN` characters; its type if it has no
    message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:SHOWN]


def find_text_fault(text: str, longest: int = LONGEST_NAME) -> str | None:
    """Why `text` cannot be a name, as the end of a sentence; None if it can."""
    if not text.strip().strip(JOINERS):
        return "is blank: give it a name"
    if len(text) > longest or len(text.encode("utf-8", "surrogatepass")) > longest:
        return f"is longer than {longest:,} bytes: give it a shorter name"
    if text.isprintable():  # nearly all, and fast: a data set may have a million names
        return None
    if bad := next((letter for letter in text if not is_printable(letter)), None):
        kind = "is not UTF-8" if unicodedata.category(bad) == "Cs" else "is not printable"
        return f"holds U+{ord(bad):04X}, which {kind}: give it another name"
    return None


def join_names(names: Iterable[object], most: int = 5) -> str:
    """The names in a list for a sentence; of a long one, the first `most` and how many more."""
    names = [*map(str, names)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def printable(text: object, longest: int = SHOWN) -> str:
    """`text` for a message: escaped by `terminal`, and shortened in the middle to `longest`
    characters."""
    text = str(text)
    if len(text) > longest:
        half = (longest - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return terminal(text)
