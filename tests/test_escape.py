"""Text from outside has no effect in the formats that it is written to."""

import html
import json
import re

import pytest

from stages.page.templates import mark_code_spans
from stages.runtime import escape

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "[click](http://example.org)",
    "![x](http://example.org/x.png)",
    "a | b\n# heading",
    "**bold** _under_ `code` ~~gone~~ $x$ &lt;",
    "\x1b]0;title\x07 \u202egnp.exe \u2028 \x9b",
    "https://example.org www.example.org a@example.org",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_a_text_literally(text: str):
    from markdown_it import MarkdownIt

    parser = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    shown = escape.terminal(" ".join(text.split()))
    for line, row in ((f"- x {escape.markdown(text)}", 0), (f"- x {escape.code(text)}", 1)):
        inline = next(token for token in parser.parse(line) if token.type == "inline")
        kinds = {token.type for token in inline.children}
        assert kinds <= {"text", "text_special", "code_inline"}
        assert "".join(token.content for token in inline.children) == f"x {shown}", row
    cells = f"| a | b |\n|---|---|\n| {escape.markdown(text)} | {escape.code(text, True)} |"
    inline = [token for token in parser.parse(cells) if token.type == "inline"]
    assert len(inline) == 4  # two cells in the head, two below


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_makes_no_link_of_an_address(text: str):
    """GitHub looks for addresses in the text between escaped characters."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("gfm-like", {"linkify": False}).disable("text_join")
    tokens = parser.parse(escape.markdown(text))
    inline = next(token for token in tokens if token.type == "inline")
    for token in inline.children:
        assert token.type == "text_special" or not re.search(r"://|www\.|@", token.content)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_code_span_of_markdown_becomes_one_of_html(text: str):
    marked = str(mark_code_spans(f"<b> {escape.code(text)} </b>"))
    before, inside, behind = re.split("</?code>", marked)
    assert (before, behind) == ("&lt;b&gt; ", " &lt;/b&gt;") and "<" not in inside
    assert html.unescape(inside).strip() == escape.terminal(" ".join(text.split())).strip()


def test_ordinary_names_are_not_changed():
    for name in ("T-shirt/top", "batch_norm", "Ankle boot", "0.5", "árbol", "mixed_bfloat16"):
        assert escape.markdown(name) == escape.terminal(name) == escape.spreadsheet(name) == name
        assert escape.code(name) == f"`{name}`"


def test_a_terminal_gets_no_control_character():
    assert escape.terminal("a\x1b[2J\nb\u202e\udcff") == "a\\x1b[2J\\nb\\u202e\\udcff"
    assert escape.terminal("a\nb", keep="\n") == "a\nb"


def test_json_keeps_its_values_and_has_no_control_characters():
    values = [*HOSTILE, "\U000e0041 \udcff", {"árbol": 0.5}]
    text = escape.as_json(values)
    assert json.loads(text) == values and "árbol" in text
    assert all(map(escape.is_printable, text.replace("\n", "")))


def test_a_spreadsheet_takes_no_text_for_a_formula():
    for cell in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1"):
        assert escape.spreadsheet(cell) == f"'{cell}"
        assert escape.from_spreadsheet(f"'{cell}") == cell
    assert escape.spreadsheet("'n") == escape.from_spreadsheet("'n") == "'n"
    assert escape.spreadsheet(-0.5) == -0.5


def test_text_in_a_script_contains_no_tag():
    for text in HOSTILE:
        assert "</" not in escape.script(text) and "<!" not in escape.script(text)
        assert escape.from_script(escape.script(text)) == text
