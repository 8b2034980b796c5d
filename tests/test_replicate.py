"""The queue of the documents' experiments: what it takes up, in which order, and that it may be
stopped at any moment."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.project import Project
from test_interruption import eventually
from test_replications import FIRST, MORE, edit

from commands.replicating import progress, rows
from commands.replicating.rows import Row
from stages.storage import files
from stages.training.state import read_state

QUEUE = [sys.executable, "-m", "commands.replicate", "--commit", MORE, FIRST]


def row(name: str, minutes: float, starts_from: str | None = None) -> Row:
    return Row(name, (), starts_from, (1, 2), 10, 5, True, minutes)


def write_checkpoint(one: Row, seed: int, epochs: int, finished: bool = False) -> None:
    file = one.checkpoints / f"seed-{seed}.npz"
    state = {"history": [{}] * epochs, "finished": finished, "seconds": 1.0}
    files.write_npz(file, state=np.array(json.dumps(state)))


def write_history(one: Row, seed: int, epochs: int) -> Path:
    lines = ["epoch,val_accuracy", *(f"{epoch},0.5" for epoch in range(1, epochs + 1))]
    file = Path("replications/trained") / one.name / f"seed-{seed}" / "history.csv"
    files.write_text(file, "\n".join([*lines, ""]))
    return file


def test_the_least_that_is_left_comes_first_and_none_before_the_one_it_starts_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    long, short, next_one = row("long", 20), row("short", 11), row("next", 1, starts_from="long")
    assert [one.name for one in rows.order([next_one, long, short])] == ["short", "long", "next"]
    write_checkpoint(long, 1, epochs=7, finished=True)
    assert long.begun() == {1: (7, True)} and long.minutes_left() == 10
    assert [one.name for one in rows.order([next_one, long, short])] == ["long", "next", "short"]
    write_checkpoint(short, 1, epochs=1)
    assert short.minutes_left() == pytest.approx(11 * 0.9)
    (short.checkpoints / "seed-2.npz").write_bytes(b"damaged")
    assert short.begun() == {1: (1, False)}


def test_progress_is_that_of_this_sitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    one = row("one", 20)
    os.utime(write_history(one, 1, 9), (100, 100))  # left by an earlier run
    watch = progress.Watch(one, started=1000)
    watch.look()
    assert watch.first is None
    os.utime(write_history(one, 1, 3), (1000, 1000))  # taken up, and one epoch done
    watch.look()
    assert watch.first == (1, 3, 1000) and watch.seconds is None
    os.utime(write_history(one, 1, 5), (1060, 1060))
    watch.look()
    assert watch.seconds == 30


def trainings(project: Project) -> list[psutil.Process]:
    """The processes that train in the project's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if "stages.replications.train" in process.cmdline():
                found += [process] if process.cwd() == str(project.folder.resolve()) else []
        except psutil.Error:
            continue
    return found


def test_a_queue_that_is_stopped_goes_on_with_the_same_bits_and_commits_each_row(fresh: Project):
    edit(fresh, epochs=40)
    fresh.run("git", "config", "user.name", "t")
    fresh.run("git", "config", "user.email", "t@example.org")
    fresh.commit()
    start = fresh.run("git", "rev-parse", "HEAD").strip()
    checkpoint = fresh.path(f"replications/checkpoints/{FIRST}/seed-2.npz")
    queue = fresh.start(*QUEUE)
    eventually(lambda: checkpoint.exists() or queue.poll() is not None, seconds=120)
    queue.send_signal(signal.SIGTERM)
    queue.communicate()
    eventually(lambda: not trainings(fresh))
    assert fresh.run("git", "rev-parse", "HEAD").strip() == start  # nothing is half committed
    first = read_state(checkpoint.with_name("seed-1.npz"))
    assert len(first["history"]) == 40 and 1 <= len(read_state(checkpoint)["history"]) < 40

    fresh.run(*QUEUE)
    assert not list(checkpoint.parent.glob("*.npz"))
    runs = files.read_json(fresh.path(f"replications/runs/{FIRST}.json"))
    assert runs["seed-1"]["seconds"]["fit"] == round(first["seconds"], 2)  # not trained again
    commits = fresh.run("git", "log", "--format=%s", f"{start}..").splitlines()
    assert [text.split(":")[0] for text in commits] == [MORE, FIRST]  # the newest first
    assert fresh.changes() == []
    fresh.run(*QUEUE)  # all is up to date
    assert len(fresh.run("git", "log", "--format=%s", f"{start}..").splitlines()) == 2

    fresh.dvc("repro", "--force", "--single-item", f"replications/dvc.yaml:train@{FIRST}")
    assert " M replications/dvc.lock" not in fresh.changes()  # equal bits
