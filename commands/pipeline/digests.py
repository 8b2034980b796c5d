"""The digests of code that trainings depend on in place of the code: a comment changes none."""

from dvc.repo import Repo
from dvc.stage import Stage

from commands.pipeline import outdated, repository
from commands.pipeline.process import run_dvc
from stages.runtime.errors import UserError


def find_makers(repo: Repo) -> list[Stage]:
    """The stages that write digests of code, which trainings depend on in place of the code."""
    return [
        stage
        for stage in repo.index.stages
        if any(outdated.is_code(outdated.find_path(out)) for out in stage.outs)
    ]


def refresh() -> None:
    """Run the stages that write digests of code, where they are out of date; they take seconds."""
    with repository.open_repo(None) as repo:
        compare = outdated.make_comparison(repo, repo.index.stages)
        stages = [
            stage.addressing
            for stage in find_makers(repo)
            if any(compare(stage)) or not all(out.exists for out in stage.outs)
        ]
    for stage in stages:
        if run_dvc("repro", "--quiet", "--single-item", stage):
            raise UserError(f"the stage {stage} failed, which the trainings depend on")
