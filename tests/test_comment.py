"""Continuous integration treats a review and a branch's name as mere text."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.project import ROOT

GH = """#!/bin/sh
# the GitHub CLI, as far as .ci/comment uses it: one open pull request, without a comment
case "$*" in
  *pulls*) echo 7 ;;
  *body=@*)
    for one in "$@"; do case "$one" in body=@*) cat "${one#body=@}" > posted ;; esac; done ;;
esac
"""


@pytest.fixture
def comment(tmp_path: Path) -> Callable[[str], str]:
    """Runs .ci/comment on a file and returns what it posts."""
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    variables = {"GH_REPO": "o/r", "HEAD": "o:b", "SHA": "0" * 40, "RUN": "https://example.org/run"}
    variables |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def post(file: str) -> str:
        command = [str(ROOT / ".ci/comment"), file]
        subprocess.run(command, cwd=tmp_path, env=os.environ | variables, check=True)
        return (tmp_path / "posted").read_text(encoding="utf-8")

    return post


def test_a_comment_says_who_wrote_it_and_its_text_has_no_effect(tmp_path: Path, comment):
    text = "## Review\n\n![i](https://e/i.png) [l](https://e) <img src=x> @one www.e.org #1 GH-2\n"
    (tmp_path / "review.md").write_bytes(
        text.encode()
        + "\x9b2J\u202ename\u2066é\n".encode()
        + b"\xff\x1b[2J\0\n```\n<!--\n"
        + b"\xc3\xa9" * 40_000
    )
    marker, line, *rest = comment("review.md").split("\n")
    assert marker == "<!-- review -->" and line.startswith("Written by the pull request’s code")
    posted = "\n".join(rest)
    assert posted.replace("\u200b", "").strip().startswith(text.strip())
    for acting in ("](", "<i", "<!", "@o", "://", "www.", "#1", "GH-2", "\x1b", "\x9b", "\u202e"):
        assert acting not in posted
    assert "2Jnameé" in posted
    assert len((tmp_path / "posted").read_bytes()) < 65_536


@pytest.mark.parametrize(
    "text",
    [b"x" + b"\xc3\xa9" * 40_000, "⚠️ → ✅\n".encode() * 3000, b"@@@ x\n" * 6000],
    ids=["a character cut in two", "of three bytes", "that grows"],
)
def test_the_comment_of_a_long_review_is_cut(tmp_path: Path, comment, text: bytes):
    (tmp_path / "review.md").write_bytes(text)
    posted = comment("review.md").replace("\u200b", "")
    beginning = posted.split("\n\n", 1)[1].rstrip("\n")
    assert len(beginning) > 10_000 and text.decode().startswith(beginning)
    assert len((tmp_path / "posted").read_bytes()) < 65_536


def test_a_comment_never_shows_another_file_of_the_machine(tmp_path: Path, comment):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "review.md").symlink_to("secret")
    posted = comment("review.md")
    assert "secret" not in posted and "broke off" in posted


RECORDING_GH = """#!/bin/sh
# the GitHub CLI, which notes its arguments: open pull requests PULLS, each with the comment 99
echo "$*" >> posted
case "$*" in
  *pulls*) printf '%s' 'PULLS' ;;
  *"/comments --jq"*) echo 99 ;;
esac
"""


def test_an_earlier_comment_is_replaced_and_without_a_pull_request_there_is_none(
    tmp_path: Path, comment
):
    (tmp_path / "review.md").write_text("## Review\n")
    (tmp_path / "gh").write_text(RECORDING_GH.replace("PULLS", "7"))
    *_, last = comment("review.md").splitlines()
    assert "--method PATCH repos/o/r/issues/comments/99 " in last
    (tmp_path / "posted").unlink()
    (tmp_path / "gh").write_text(RECORDING_GH.replace("PULLS", ""))
    assert [call.split()[3] for call in comment("review.md").splitlines()] == ["repos/o/r/pulls"]


def test_make_passes_names_unchanged_and_runs_nothing_in_them(tmp_path: Path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/installed").touch()
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    for base in ("it's", "$(shell touch made)", "a `touch made` $x b"):
        for given in ([f"BASE={base}"], []):
            output = subprocess.run(
                ["make", "--silent", "gate", *given],
                cwd=tmp_path, env=os.environ | {"BASE": base}, check=True,
                capture_output=True, text=True,
            ).stdout  # fmt: skip
            assert output.splitlines()[-1] == base
    for target in ("recheck", "replicate"):
        names = ["a", "b;", "$(shell touch made)", "*", "it's"]
        output = subprocess.run(
            ["make", "--silent", target, f"NAMES={' '.join(names)}", "PIPELINE=it's $x"],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        expected = [*" ".join(names).split(), *(["--pipeline", "it's $x"] * (target == "recheck"))]
        assert output.splitlines()[2:] == expected
    assert not (tmp_path / "made").exists()
