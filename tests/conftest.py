"""Shared fixtures, above all a small copy of the project."""

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

gc.disable()  # imports and collected tests live until the end
# a shell makes background jobs ignore Ctrl-C, and the processes that tests start inherit this
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that use DVC first: they take longest, and the others fill the gaps. Of these,
    start with files that need no finished project, so that not all workers wait for it."""
    projects = {"template", "search_template"}
    slow = {item.path for item in items if projects & {*item.fixturenames}}
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
        folder = folder.parent  # all workers share one project, and none changes it
    project = Project(folder / "finished" / "project")
    with filelock.FileLock(folder / "finished.lock"):
        if not project.folder.exists():
            new = copy(template, tmp_path_factory.mktemp("made"))
            new.dvc("repro")
            new.commit()
            new.run("git", "gc", "--quiet")  # few files, since many tests copy them
            project.folder.parent.mkdir()
            new.folder.rename(project.folder)
    return project


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Remove the handlers of signals that stages and commands install in this process."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def step_by_step() -> Iterator[None]:
    """Trainings in this process return to Python after each batch: the bits are the same, and
    Keras traces the step once, not twice."""
    from stages.training import compiling

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "STEPS_PER_EXECUTION", 1)
        yield


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's browser, closed after each module: Playwright's event loop blocks others."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server that misbehaves as planned."""
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
    """Work in an empty folder with nothing but the publishers' descriptions."""
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
