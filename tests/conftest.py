"""A small copy of the project, before and after its first run, for the tests."""

import gc
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest
from playwright.sync_api import Browser, sync_playwright
from support.browser import CHROMIUM, FLAGS
from support.project import ROOT, Project, copy, small_project
from support.servers import Server

gc.disable()  # what is imported and collected lives until the end
# a shell may have started this in the background, where Ctrl-C is ignored, also by what tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests run DVC first: they take longest, and the others then fill the gaps. Of
    these, files that need no finished project, so that the workers do not wait for it together."""
    slow = {item.path for item in items if "template" in item.fixturenames}
    waiting = {item.path for item in items if "finished_template" in item.fixturenames}
    items.sort(key=lambda item: (item.path not in slow, item.path in waiting))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project, before its first run."""
    return small_project(tmp_path_factory.mktemp("template") / "project")


@pytest.fixture(scope="session")
def finished_template(template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project after `dvc repro`, committed with its lock files and reports."""
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent  # the workers share one, which none of them changes
    project = Project(folder / "finished" / "project")
    with filelock.FileLock(folder / "finished.lock"):
        if not project.folder.exists():
            made = copy(template, tmp_path_factory.mktemp("made"))
            made.dvc("repro")
            made.commit()
            made.run("git", "gc", "--quiet")  # few files, since many tests copy them
            project.folder.parent.mkdir()
            made.folder.rename(project.folder)
    return project


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Stages and commands that tests call in this process say what SIGINT and SIGTERM do."""
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    yield
    for one, handler in handlers.items():
        signal.signal(one, handler)


@pytest.fixture(scope="module")
def step_by_step() -> Iterator[None]:
    """Trainings in this process return to Python after each batch: the same bits, and Keras traces
    the step once and not twice."""
    from stages.training import fitting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "STEPS_PER_EXECUTION", 1)
        yield


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's browser; of one module, since Playwright's loop stands in the way of others."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server that misbehaves by plan."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.done.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def publishers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is one that has nothing of the project but what publishers say."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "data/official", "data/official")


@pytest.fixture
def fresh(template: Project, tmp_path: Path) -> Project:
    """A copy of the small project, before its first run, for a test to change."""
    return copy(template, tmp_path)


@pytest.fixture
def finished(finished_template: Project, tmp_path: Path) -> Project:
    """A copy of the small project after its first run, for a test to change."""
    return copy(finished_template, tmp_path)
