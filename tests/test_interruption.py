"""A training that is interrupted in any way and started again ends with the same bits as one that
was not."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import filelock
import psutil
import pytest
from support.processes import eventually, press_ctrl_c, processes_in
from support.project import Project, copy

from stages.runtime import cli, experiments, guard
from stages.runtime.errors import UserError
from stages.storage import files
from stages.training.state import read_state

# in the small project it has dropout and batch norm: state beside the weights
MODEL = "fashion-2blocks"
REPRO = [sys.executable, "-m", "dvc", "repro", f"train@{MODEL}"]


def longer(params) -> None:
    params["train"]["epochs"] = 30  # enough to interrupt it twice
    params["train"]["early_stopping"]["patience"] = 30


@pytest.fixture(scope="module")
def uninterrupted(finished_template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy(finished_template, tmp_path_factory.mktemp("uninterrupted"))
    project.edit_params(longer)
    project.stage("train", MODEL)
    return project


def results(project: Project) -> dict[str, str]:
    """The digests of what the training wrote."""
    names = ("model.keras", "predictions.npz", "history.csv", "training.json")
    return {name: files.sha256(project.path(f"models/{MODEL}/{name}")) for name in names}


def count_epochs(project: Project) -> int:
    """The number of epochs in the training's checkpoint."""
    state = read_state(project.path(f"models/{MODEL}/checkpoint.npz"))
    return len(state["history"]) if state else 0


def interrupt(project: Project, way: Callable[[subprocess.Popen], None]) -> str:
    """Start the training under DVC, end it in this way after the first epoch that it adds, and
    return its output."""
    done = count_epochs(project)
    dvc = project.start(*REPRO)
    eventually(lambda: count_epochs(project) > done)
    way(dvc)
    output, _ = dvc.communicate()
    assert dvc.returncode != 0
    # no training outlives the DVC that started it
    eventually(lambda: not processes_in(project.folder, "stages.train"))
    assert not project.path(f"models/{MODEL}/model.keras").exists()
    return output


def test_a_training_interrupted_in_two_ways_resumes_and_ends_with_the_same_bits(
    finished: Project, uninterrupted: Project
):
    finished.edit_params(longer)
    outputs = [interrupt(finished, way) for way in (subprocess.Popen.kill, press_ctrl_c)]
    outputs.append(finished.dvc("repro", f"train@{MODEL}"))
    assert ["resuming after epoch" in output for output in outputs] == [False, True, True]
    assert results(finished) == results(uninterrupted)
    assert not finished.path(f"models/{MODEL}/checkpoint.npz").exists()


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


def test_ctrl_c_is_handled_as_before_once_the_work_is_done(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), guard.exclusive(tmp_path / "lock", "the work"):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_as_an_exception_and_a_second_sighup_does_not_cut_it_short(
    number: int,
):
    signal.signal(signal.SIGHUP, lambda *_: None)
    cli.exit_on_signals()
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    signal.raise_signal(signal.SIGHUP)
    assert ended.value.code == 128 + number


def test_a_closed_terminal_does_not_end_a_command_under_nohup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    cli.exit_on_signals()
    signal.raise_signal(signal.SIGHUP)


@pytest.mark.parametrize(
    ("folder", "works"),
    [(".", True), ("replications", True), (".dvc/tmp/exps/one", False), ("..", False)],
)
def test_dvc_works_on_this_project_from_its_folders_except_those_of_experiments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, works: bool
):
    project = tmp_path / "project"
    for root in (project, project / ".dvc/tmp/exps/one"):
        (root / ".dvc").mkdir(parents=True)
    (project / "reports").mkdir()
    for here in (project, project / "reports"):
        monkeypatch.chdir(here)
        assert experiments.works_here((project / folder).resolve()) == works


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("dvc repro", True),
        ("/usr/bin/python3.12 /opt/bin/dvc repro", True),
        ("python -u -m dvc exp run", True),
        ("/Frameworks/Python.app/Contents/MacOS/Python /opt/bin/dvc repro", True),
        ("tail -f dvc", False),
        ("python -m pytest dvc", False),
        ("", False),
    ],
)
def test_processes_of_dvc_are_recognised_by_their_command(command: str, expected: bool):
    assert guard.is_dvc(SimpleNamespace(cmdline=command.split)) == expected


def test_a_stage_ends_when_its_dvc_disappears_during_a_check(monkeypatch: pytest.MonkeyPatch):
    class Gone:
        def is_running(self) -> bool:
            return True

        def status(self) -> str:
            raise psutil.NoSuchProcess(1)

    ended = []
    monkeypatch.setattr(psutil.Process, "parents", lambda self: [Gone()])
    monkeypatch.setattr(guard, "is_dvc", lambda process: True)
    monkeypatch.setattr(guard, "GRACE", 0)
    monkeypatch.setattr(os, "kill", lambda _, number: ended.append(number))
    monkeypatch.setattr(os, "_exit", ended.append)
    guard.end_with_dvc()
    for thread in threading.enumerate():
        if thread.name == "end-with-dvc":
            thread.join()
    assert ended == [signal.SIGINT, 1]  # first it is allowed to clean up
