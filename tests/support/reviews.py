"""Reviews and gates of a project, in this process, which has imported DVC and pandas already."""

from contextlib import chdir, nullcontext

import pytest
from dvc.repo import Repo

from commands import gate as gate_command
from commands import review as review_command
from stages.runtime.errors import UserError
from support.project import Project

MODEL = "mnist-dense"


def review(
    project: Project, base: str = "main", head: str | None = None, refused: bool = False
) -> str:
    """The text of review.md. With `refused`, the review must end with an error."""
    with chdir(project.folder), pytest.raises(UserError) if refused else nullcontext():
        review_command.main(base, head, repro=False)
    return project.path("review.md").read_text(encoding="utf-8")


def closed_gate(project: Project, capsys: pytest.CaptureFixture, base: str = "main") -> str:
    """What the gate prints; it must be closed."""
    capsys.readouterr()
    with chdir(project.folder), pytest.raises(UserError, match="the gate is closed"):
        gate_command.main(base)
    return capsys.readouterr().out


def accept(stage: str) -> None:
    """Make DVC accept the files that are there as the results of `stage`."""
    with Repo() as repo:
        repo.commit(stage, force=True)


def commit(project: Project, branch: str) -> None:
    project.run("git", "checkout", "--quiet", "-B", branch)
    project.commit()
