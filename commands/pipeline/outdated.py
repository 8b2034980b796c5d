"""The stages that ``dvc repro`` would run, and what differs between each and its lock entry."""

import functools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency.base import Dependency
from dvc.dependency.param import ParamsDependency
from dvc.output import Output
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import Stage
from dvc.utils.serialize import load_path
from dvc_data.hashfile.tree import Tree

from commands.pipeline import keys, lockfile
from commands.pipeline.repository import open_repo
from stages.runtime import escape

ABSENT = object()
COMMAND = "cmd"  # in an entry of a lock file
# the stages that make the data of all trainings; of those of one source, source alone reads it
DATA = ("data/dvc.yaml:source", "data/dvc.yaml:download", "split", "preprocess")


@dataclass(frozen=True)
class Outdated:
    """A stage that ``dvc repro`` would run: its results are `stale`, of other code, data or
    parameters; or some are `missing`. `by_code`: stale, and by nothing but code."""

    stage: str
    stale: bool
    missing: tuple[str, ...]
    by_code: bool = False

    def __str__(self) -> str:
        return f"{self.stage} (missing: {', '.join(self.missing)})" if self.missing else self.stage


def give_recheck_hint(stages: Sequence[Outdated]) -> str:
    """What to do where trainings are out of date by their code alone, as a sentence; empty where
    none is."""
    by_code = [one.stage for one in stages if one.by_code]
    trainings = [stage for stage in by_code if "train@" in stage]
    if not trainings and "fingerprint" not in by_code:
        return ""
    changed = {one.stage.split("@")[0] for one in stages if one.stale and not one.by_code}
    if not changed.isdisjoint(DATA):  # which make all train again
        return ""
    which = (
        f"{', '.join(map(escape.code, trainings))}: only the"
        if trainings
        else "Not only the"
        if "train" in changed
        else "Only the"
    )
    return (
        f"{which} code of trainings changed. `make recheck` shows in minutes whether it computes "
        "the same; where nothing else changed, it then updates dvc.lock without training"
    )


def find_outdated(revision: str | None = None) -> list[Outdated]:
    """The stages of the root pipeline that ``dvc repro`` would run, in the working tree, or at
    `revision`; empty where ``dvc.lock`` is up to date. Stages that depend on these are not listed.
    Raises `UserError` where DVC cannot read the pipeline.

    Data and models need not be there (as for ``dvc repro --allow-missing``), or may be those of
    another commit, as after ``git switch``: their digests in ``dvc.lock`` do. Results that lie in
    git (``cache: false``) must be there."""
    with open_repo(revision) as repo:
        needed = plan_repro(get_active_graph(repo.index.graph), collect_stages(repo, ["dvc.yaml"]))
        return filter_outdated(repo, [stage for stage in repo.index.stages if stage in needed])


def find_outdated_replications(revision: str | None = None) -> list[Outdated]:
    """The stages whose results are in the replications' table, but not those of the code and
    parameters; as `find_outdated`, but their data and models lie nowhere else, and may be
    missing."""
    with open_repo(revision) as repo:
        have_run = {"table", *lockfile.read(Path("replications/dvc.lock"))}
        stages = [
            stage for stage in repo.stage.collect("replications/dvc.yaml") if stage.name in have_run
        ]
        return [one for one in filter_outdated(repo, stages) if one.stale]


def filter_outdated(repo: Repo, stages: list[Stage]) -> list[Outdated]:
    """Those of `stages` that are out of date. Files that `dvc add` tracks are inputs, not stages to
    run, and are compared with what the stages read."""
    compare, result = make_comparison(repo, stages), []
    for stage in filter(lambda stage: stage.cmd, stages):
        missing = tuple(str(out) for out in stage.outs if not out.use_cache and not out.exists)
        every = [change for change in compare(stage) if not change.on_disk]
        if every or missing:
            has_run = any(out.hash_info for out in stage.outs)
            by_code = (
                has_run
                and all(one.of_code for one in every)
                and any(is_code(one.name) or one.name == COMMAND for one in every)
            )
            result.append(Outdated(stage.addressing, bool(every), missing, by_code))
    return result


def make_comparison(repo: Repo, stages: Iterable[Stage]) -> Callable[[Stage], Iterator["Change"]]:
    """The function that lists what differs between one of `stages` and its lock entry."""
    made = Made(stages)
    read = functools.cache(lambda path: load_path(path, repo.fs) if os.path.exists(path) else {})
    return lambda stage: list_changes(stage, made, read)


class Made:
    """What lock files say of the files that `stages` make, for files that are not here."""

    def __init__(self, stages: Iterable[Stage]):
        self.outs = {out.fs_path: out for stage in stages for out in stage.outs}
        self.recorded = defaultdict(set)  # the digests that stages have read each path with
        for dep in (dep for stage in stages for dep in stage.deps):
            self.recorded[dep.fs_path].add(str(dep.hash_info))

    def caches(self, dep: Dependency) -> bool:
        """Whether `dep` lies in what a stage makes, and git ignores. What `dvc add` tracks is an
        input, and comes from no stage."""
        place = self.find_place(dep)
        return place is not None and self.outs[place].use_cache and bool(self.outs[place].stage.cmd)

    def find_place(self, dep: Dependency) -> str | None:
        """The output that `dep` is, or lies in, by its path; None where no stage makes it."""
        path = Path(dep.fs_path)
        return next((one for one in map(str, (path, *path.parents)) if one in self.outs), None)

    def proves_another(self, dep: Dependency) -> bool:
        """Whether `dep` is not what its stage has read, as far as it can be known.

        A whole output has its digest in the lock file. A file inside an output that is a folder has
        none: it is looked up in the folder's list of files where DVC's cache holds that, and
        otherwise compared with what other stages have read. Where these disagree, one of them has
        read another file, and nothing says which."""
        place = self.find_place(dep)
        if place == dep.fs_path:
            return self.outs[place].hash_info != dep.hash_info
        if place and isinstance(folder := self.outs[place].get_obj(), Tree):
            parts = Path(dep.fs_path).relative_to(place).parts
            inside = folder.get_obj(self.outs[place].cache, parts)  # a file, or a folder in it
            return inside is None or inside.hash_info != dep.hash_info
        return len(self.recorded[dep.fs_path]) > 1


@dataclass(frozen=True)
class Change:
    """What differs between a stage and its lock entry: ``cmd``, or a path, or a parameter.
    `of_code`: what `make recheck` can judge, which runs both codes on their own parameters: code, a
    digest of code, or a parameter that the entry does not know. `on_disk`: data or a model, which
    git ignores, are not what the lock file says, and `dvc checkout` may bring what is."""

    name: str
    of_code: bool
    on_disk: bool = False

    @property
    def of_inputs(self) -> bool:
        """Whether it is other data or another parameter, for which only a training helps."""
        return not self.of_code and not self.on_disk


def list_changes(stage: Stage, made: Made, read: Callable[[str], Any]) -> Iterator[Change]:
    """What differs between a stage and its lock entry, as ``stage.changed(allow_missing=True)``
    looks at it, and more: DVC takes a missing file inside a folder for unchanged, and `made` may
    prove that it is another. DVC also parses the files of parameters anew for each stage, which
    would be a third of a review's time; `read` gives the content of such a file."""
    if stage.changed_stage():
        yield Change(COMMAND, True)
    for out in stage.outs:
        known = out.hash_info and out.status().get(str(out), "deleted")
        if known not in ("not in cache", "deleted"):
            on_disk = bool(out.hash_info) and out.use_cache
            yield Change(find_path(out), is_code(find_path(out)), on_disk)
    if stage.frozen:
        return
    if stage.always_changed or stage.is_callback:
        yield Change("it always runs", False)
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency) and dep.params:
            then = dep.hash_info.value or {}
            for key in dep.params:
                before, now = then.get(key, ABSENT), keys.look_up(key, read(dep.fs_path), ABSENT)
                if now is ABSENT or now != before:
                    yield Change(f"{find_path(dep)}: {key}", extends(now, before))
            continue
        status = dep.status().get(str(dep))
        if not status:
            continue
        # what it was when the lock files were written
        known = dep.hash_info and (status == "deleted" or made.caches(dep))
        same = bool(known) and not made.proves_another(dep)
        if not same or status != "deleted":
            yield Change(find_path(dep), is_code(find_path(dep)), on_disk=same)


def find_path(item: Output) -> str:
    """The path of a dependency or an output, from the project's folder."""
    return os.path.relpath(item.fs_path, item.repo.root_dir)


def is_code(path: str) -> bool:
    """Whether a path is that of code of the stages, or of a digest of code."""
    return f"{path}/".startswith(("stages/", "reports/code/"))


def extends(now: Any, before: Any) -> bool:
    """Whether a parameter, perhaps a section, is what it was, but for keys that are new."""
    if before is ABSENT or now == before:
        return now is not ABSENT
    return (
        isinstance(now, dict)
        and isinstance(before, dict)
        and all(extends(now.get(key, ABSENT), value) for key, value in before.items())
    )
