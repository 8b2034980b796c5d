"""How the time left is shown: bars on a terminal, and lines in the log of a training."""

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stages.runtime import cli, progress
from stages.training import time_left
from stages.training.batches import Batches
from stages.training.fitting import Phase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace standard output and error by a terminal on which bars show at once."""
    stream = Terminal()
    monkeypatch.setattr(progress, "DELAY", 1e-9)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_bar_shows_progress_and_disappears_at_the_end(monkeypatch: pytest.MonkeyPatch):
    terminal = open_terminal(monkeypatch)
    with progress.track(None, "a name\x1b[2J", "images", 4, mininterval=0) as bar:
        bar.update(1)
        progress.say("a line")
        bar.update(3)
    shown = terminal.getvalue()
    assert "a name\\x1b[2J:  25%" in shown and "1/4" in shown and "images/s" in shown
    assert "\ra line\n" in shown  # above the bar
    assert shown.endswith("\r") and not shown.split("\r")[-2].strip()


def test_a_short_loop_shows_no_bar(monkeypatch: pytest.MonkeyPatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(progress, "DELAY", 60)
    for _ in progress.track(range(3), "short", "images"):
        progress.say("a line")
    assert "short" not in terminal.getvalue()


def test_a_log_gets_no_bar(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "DELAY", 1e-9)
    for number in progress.track(range(2), "a loop", "images"):
        progress.say(f"line {number}")
    assert capsys.readouterr() == ("line 0\nline 1\n", "")


def test_an_error_message_replaces_the_bar(monkeypatch: pytest.MonkeyPatch):
    open_terminal(monkeypatch)
    with pytest.raises(SystemExit) as caught:
        for _ in progress.track(range(2), "a loop", "images"):
            cli.fail("wrong")
    assert str(caught.value) == "\r\x1b[Kerror: wrong"


def test_a_training_prints_the_time_left_without_its_slow_first_batch(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Ten batches per epoch and a validation take two seconds each; the first batch takes 100 more,
    since Keras compiles."""
    clock = 0.0
    monkeypatch.setattr(time_left.time, "perf_counter", lambda: clock)
    parts = [
        Batches(np.zeros((count, 1)), np.zeros(count, int), 10, classes=None) for count in (100, 30)
    ]
    stopping = SimpleNamespace(early_stopping=SimpleNamespace(patience=3))
    callback = time_left.TimeLeft(
        SimpleNamespace(name="net", train=stopping), Phase("head", None, None, *parts, Path())
    )
    callback.set_params({"epochs": 6})
    printed = []
    for epoch in range(6):
        callback.on_epoch_begin(epoch)
        for batch in range(10):
            callback.on_train_batch_begin(batch)
            printed += [(clock, line) for line in capsys.readouterr().out.splitlines()]
            clock += 2 if epoch or batch else 102
        clock += 2
        callback.on_epoch_end(epoch)
        printed += [(clock, line) for line in capsys.readouterr().out.splitlines()]
    assert all("net" in line and "head" in line for _, line in printed)
    left = [(when, re.search(r"\d+ (s|min)", line)[0]) for when, line in printed]
    # it ends at 232; the second line comes over a minute later, after epoch four
    assert left == [(108, "2 min"), (188, "44 s")]
