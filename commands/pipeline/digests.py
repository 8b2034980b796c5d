"""The digests of code that trainings depend on instead of the code itself: comments do not change
them."""

from dvc.repo import Repo
from dvc.stage import Stage

from commands.pipeline import changes, repository
from commands.pipeline.process import run_dvc
from stages.runtime.errors import UserError


def find_makers(repo: Repo) -> list[Stage]:
    """The stages that write the digests of code."""
    return [
        stage
        for stage in repo.index.stages
        if any(changes.is_code(changes.find_path(out)) for out in stage.outs)
    ]


def refresh() -> None:
    """Run the stages that write digests of code if they are out of date, which takes seconds.
    Raises `UserError` if one fails."""
    with repository.open_repo(None) as repo:
        comparison = changes.Comparison(repo.index.stages)
        stages = [
            stage.addressing
            for stage in find_makers(repo)
            if any(comparison.list_changes(stage)) or not all(out.exists for out in stage.outs)
        ]
    for stage in stages:
        if run_dvc("repro", "--quiet", "--single-item", stage):
            raise UserError(f"the stage {stage}, which the trainings depend on, failed")
