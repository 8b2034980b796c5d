"""Find the stages that ``dvc repro`` would run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import Stage

from commands.pipeline import changes, lockfile
from commands.pipeline.repository import open_repo
from stages.runtime import escape

# the stages that make the data of all trainings; of those per data source, only `source` reads it
DATA = ("data/dvc.yaml:source", "data/dvc.yaml:download", "split", "preprocess")


@dataclass(frozen=True)
class Outdated:
    """A stage that ``dvc repro`` would run: its results are `stale`, from other code, data or
    parameters; or some are `missing`. `by_code`: stale only because of code."""

    stage: str
    stale: bool
    missing: tuple[str, ...]
    by_code: bool = False

    def __str__(self) -> str:
        return f"{self.stage} (missing: {', '.join(self.missing)})" if self.missing else self.stage


def give_recheck_hint(stages: Sequence[Outdated]) -> str:
    """A sentence on what to do if trainings are out of date by their code alone; empty if none
    is."""
    by_code = [outdated.stage for outdated in stages if outdated.by_code]
    trainings = [stage for stage in by_code if "train@" in stage]
    if not trainings and "fingerprint" not in by_code:
        return ""
    changed = {
        outdated.stage.split("@")[0]
        for outdated in stages
        if outdated.stale and not outdated.by_code
    }
    if not changed.isdisjoint(DATA):  # all models must train again
        return ""
    if trainings:
        which = f"{', '.join(map(escape.code, trainings))}: only the"
    else:
        which = "Not only the" if "train" in changed else "Only the"
    return (
        f"{which} code of trainings changed. `make recheck` shows in minutes whether that code "
        "still computes the same; if nothing else changed, it then updates dvc.lock without "
        "training"
    )


def find_outdated(revision: str | None = None) -> list[Outdated]:
    """The stages of the root pipeline that ``dvc repro`` would run, in the working tree or at
    `revision`; empty if ``dvc.lock`` is up to date. Stages that depend on these are not listed.
    Raises `UserError` if DVC cannot read the pipeline.

    Data and models may be missing (as for ``dvc repro --allow-missing``), or belong to another
    commit, as after ``git switch``: their digests in ``dvc.lock`` suffice. Results kept in git
    (``cache: false``) must exist."""
    with open_repo(revision) as repo:
        needed = plan_repro(get_active_graph(repo.index.graph), collect_stages(repo, ["dvc.yaml"]))
        return filter_outdated([stage for stage in repo.index.stages if stage in needed])


def find_outdated_replications(revision: str | None = None) -> list[Outdated]:
    """The stages whose results are in the replications' table but belong to other code or
    parameters. Like `find_outdated`, but missing results are ignored: data and models of
    replications exist only where they ran."""
    with open_repo(revision) as repo:
        have_run = {"table", *lockfile.read(Path("replications/dvc.lock"))}
        stages = [
            stage for stage in repo.stage.collect("replications/dvc.yaml") if stage.name in have_run
        ]
        return [outdated for outdated in filter_outdated(stages) if outdated.stale]


def filter_outdated(stages: list[Stage]) -> list[Outdated]:
    """The `stages` that are out of date. Files tracked by `dvc add` are not stages to run: they
    are inputs, compared with what the stages read."""
    comparison, result = changes.Comparison(stages), []
    for stage in filter(lambda stage: stage.cmd, stages):
        missing = tuple(str(out) for out in stage.outs if not out.use_cache and not out.exists)
        differing = [change for change in comparison.list_changes(stage) if not change.on_disk]
        if differing or missing:
            has_run = any(out.hash_info for out in stage.outs)
            names = [change.name for change in differing]
            by_code = (
                has_run
                and all(change.of_code for change in differing)
                and any(changes.is_code(name) or name == changes.COMMAND for name in names)
            )
            result.append(Outdated(stage.addressing, bool(differing), missing, by_code))
    return result
