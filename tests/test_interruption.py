"""A training that is interrupted, in whatever way, and started again ends with the bits of one that
was not."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import psutil
import pytest
import yaml
from support.project import Project

from stages.runtime import guard
from stages.runtime.errors import UserError

# in the small project it has dropout and batch norm: state beside the weights
MODEL = "fashion-2blocks"
TRAIN = [sys.executable, "-m", "stages.train", MODEL]
REPRO = [sys.executable, "-m", "dvc", "repro", f"train@{MODEL}"]


def eventually(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def longer(params) -> None:
    params["train"]["epochs"] = 60
    params["train"]["early_stopping"]["patience"] = 50


@pytest.fixture(scope="module")
def uninterrupted(finished_template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    from support.project import copy

    project = copy(finished_template, tmp_path_factory.mktemp("uninterrupted"))
    project.edit_params(longer)
    project.dvc("repro", f"train@{MODEL}")
    return project


def results(project: Project) -> dict[str, str]:
    """The digests of what the training wrote, from the lock file."""
    stage = yaml.safe_load(project.path("dvc.lock").read_text())["stages"][f"train@{MODEL}"]
    return {out["path"]: out["md5"] for out in stage["outs"]}


def trainings(project: Project) -> list[psutil.Process]:
    """The processes that train in the project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if "stages.train" in process.cmdline() and Path(process.cwd()) == project.folder:
                found.append(process)
        except psutil.Error:
            continue
    return found


def interrupt(project: Project, how: Callable[[subprocess.Popen], None]) -> None:
    """Start the training under DVC, and call `how` with DVC's process when the
    first epoch is done."""
    dvc = project.start(*REPRO)
    eventually(project.path(f"models/{MODEL}/checkpoint.npz").exists)
    how(dvc)
    dvc.communicate()
    assert dvc.returncode != 0


def kill_stage(project: Project) -> Callable:
    return lambda dvc: [process.kill() for process in trainings(project)]


def kill_dvc(project: Project) -> Callable:
    return lambda dvc: dvc.kill()


def press_ctrl_c(project: Project) -> Callable:
    def press(dvc: subprocess.Popen) -> None:
        for process in [psutil.Process(dvc.pid), *psutil.Process(dvc.pid).children(recursive=True)]:
            process.send_signal(signal.SIGINT)

    return press


@pytest.mark.parametrize("way", [kill_stage, kill_dvc, press_ctrl_c])
def test_it_goes_on_and_ends_with_the_same_bits(
    finished: Project, uninterrupted: Project, way: Callable
):
    finished.edit_params(longer)
    interrupt(finished, way(finished))
    eventually(lambda: not trainings(finished))  # none outlives the DVC that started it
    assert not finished.path(f"models/{MODEL}/model.keras").exists()

    output = finished.dvc("repro", f"train@{MODEL}")
    assert "going on behind epoch" in output
    assert results(finished) == results(uninterrupted)
    assert not finished.path(f"models/{MODEL}/checkpoint.npz").exists()


def test_a_checkpoint_of_other_parameters_is_not_taken_up(finished: Project):
    finished.edit_params(longer)
    interrupt(finished, kill_stage(finished))
    finished.edit_params(lambda params: params["train"].update(batch_size=25))
    assert "going on" not in finished.dvc("repro", f"train@{MODEL}")


def test_more_epochs_go_on_where_a_shorter_training_ended(
    finished: Project, uninterrupted: Project
):
    def repro(epochs: int, *options: str) -> str:
        finished.edit_params(lambda params: params["train"].update(epochs=epochs))
        return finished.dvc("repro", *options, f"train@{MODEL}")

    finished.edit_params(longer)
    repro(20)
    assert "going on behind epoch 20" in repro(60)
    assert results(finished) == results(uninterrupted)
    assert "going on" not in repro(60, "--force", "--single-item")  # all of it was asked for
    assert results(finished) == results(uninterrupted)
    assert "going on" not in repro(59)


def test_a_second_training_of_the_same_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(guard, "PATIENCE", 0.1)
    lock = tmp_path / "train.lock"
    with (
        filelock.FileLock(lock),
        pytest.raises(UserError, match=r"train\.lock"),
        guard.exclusive(lock, "the training"),
    ):
        pytest.fail("two trainings at once")


def test_a_stage_ends_when_its_dvc_is_gone_between_two_looks(monkeypatch: pytest.MonkeyPatch):
    class Gone:
        def is_running(self) -> bool:
            return True

        def status(self) -> str:
            raise psutil.NoSuchProcess(1)

    ended = []
    monkeypatch.setattr(psutil.Process, "parents", lambda self: [Gone()])
    monkeypatch.setattr(guard, "is_dvc", lambda process: True)
    monkeypatch.setattr(os, "_exit", ended.append)
    guard.end_with_dvc()
    for thread in threading.enumerate():
        if thread.name == "end-with-dvc":
            thread.join()
    assert ended == [1]
