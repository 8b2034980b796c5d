"""A small copy of the project, before and after its first run, for the tests."""

from pathlib import Path

import pytest
from support.project import Project, copy, small_project


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project, before its first run."""
    return small_project(tmp_path_factory.mktemp("template") / "project")


@pytest.fixture(scope="session")
def finished_template(template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project after `dvc repro`, committed with its lock files and reports."""
    project = copy(template, tmp_path_factory.mktemp("finished"))
    project.dvc("repro")
    project.commit()
    return project


@pytest.fixture
def fresh(template: Project, tmp_path: Path) -> Project:
    """A copy of the small project, before its first run, for a test to change."""
    return copy(template, tmp_path)


@pytest.fixture
def finished(finished_template: Project, tmp_path: Path) -> Project:
    """A copy of the small project after its first run, for a test to change."""
    return copy(finished_template, tmp_path)
