"""How a stage differs from its entry in a lock file."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency.base import Dependency
from dvc.dependency.param import ParamsDependency
from dvc.output import Output
from dvc.stage import Stage
from dvc.utils.serialize import load_path
from dvc_data.hashfile.tree import Tree

from stages.params.reading import look_up

ABSENT = object()
COMMAND = "cmd"  # in an entry of a lock file


@dataclass(frozen=True)
class Change:
    """A difference between a stage and its lock entry: ``cmd``, a path, or a parameter. `of_code`:
    one that `make recheck` can judge, since it runs both codes with their own parameters: code, a
    digest of code, or a parameter missing in the entry. `on_disk`: data or a model, which git
    ignores, is not what the lock file says; `dvc checkout` may restore it."""

    name: str
    of_code: bool
    on_disk: bool = False

    @property
    def of_inputs(self) -> bool:
        """Whether data or a parameter changed, so that only a new training helps."""
        return not self.of_code and not self.on_disk


class Comparison:
    """Compares `stages` with their entries in lock files. What the entries of all of them record
    stands for files that are not here."""

    def __init__(self, stages: Collection[Stage]):
        self.outs = {out.fs_path: out for stage in stages for out in stage.outs}
        self.recorded = defaultdict(set)  # the digests with which stages have read each path
        for dep in (dep for stage in stages for dep in stage.deps):
            self.recorded[dep.fs_path].add(str(dep.hash_info))
        self.contents: dict[str, dict[str, Any]] = {}  # of parameter files, by path

    def list_changes(self, stage: Stage) -> Iterator[Change]:
        """How a stage differs from its lock entry, like ``stage.changed(allow_missing=True)``, with
        two differences: DVC takes a missing file inside a folder for unchanged, but other entries
        may prove the opposite; and DVC parses parameter files again for each stage, a third of a
        review's time."""
        if stage.changed_stage():
            yield Change(COMMAND, of_code=True)
        yield from filter(None, map(find_output_change, stage.outs))
        if stage.frozen:
            return
        if stage.always_changed or stage.is_callback:
            yield Change("it always runs", of_code=False)
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency) and dep.params:
                yield from list_parameter_changes(dep, self.read_parameters(dep))
            elif change := self.find_dependency_change(dep):
                yield change

    def read_parameters(self, dep: ParamsDependency) -> dict[str, Any]:
        """The content of a parameter file, read once; empty if it is missing."""
        path = dep.fs_path
        if path not in self.contents:
            self.contents[path] = load_path(path, dep.repo.fs) if os.path.exists(path) else {}
        return self.contents[path]

    def find_dependency_change(self, dep: Dependency) -> Change | None:
        """How a file or folder differs from the lock entry; None if it is equal, or missing and not
        provably another. What other stages make, and what is missing, is compared with its state
        when the lock files were written."""
        status = dep.status().get(str(dep))
        if not status:
            return None
        known = dep.hash_info and (status == "deleted" or self.is_cached(dep))
        same = bool(known) and not self.is_other(dep)
        if same and status == "deleted":
            return None
        path = find_path(dep)
        return Change(path, is_code(path), on_disk=same)

    def is_cached(self, dep: Dependency) -> bool:
        """Whether `dep` is in an output of a stage that DVC caches and git ignores. What `dvc add`
        tracks is an input, not the output of a stage."""
        out = self.find_output(dep)
        return bool(out and out.use_cache and out.stage.cmd)

    def find_output(self, dep: Dependency) -> Output | None:
        """The output that is or contains `dep`; None if there is none."""
        path = Path(dep.fs_path)
        places = map(str, (path, *path.parents))
        return next((self.outs[place] for place in places if place in self.outs), None)

    def is_other(self, dep: Dependency) -> bool:
        """Whether `dep` is provably not what its stage has read.

        A whole output has its digest in the lock file. A file inside a folder has none: it is
        looked up in the folder's list of files if DVC's cache holds that, and otherwise compared
        with what other stages have read. If these disagree, one of them has read another file, and
        it is unknown which."""
        out = self.find_output(dep)
        if out and out.fs_path == dep.fs_path:
            return out.hash_info != dep.hash_info
        if out and isinstance(folder := out.get_obj(), Tree):
            parts = Path(dep.fs_path).relative_to(out.fs_path).parts
            inside = folder.get_obj(out.cache, parts)  # a file, or a folder in it
            return inside is None or inside.hash_info != dep.hash_info
        return len(self.recorded[dep.fs_path]) > 1


def find_output_change(out: Output) -> Change | None:
    """How an output differs from its lock entry; None if it is equal or missing."""
    if out.hash_info and out.status().get(str(out)) in (None, "not in cache", "deleted"):
        return None
    path = find_path(out)
    return Change(path, is_code(path), on_disk=bool(out.hash_info) and out.use_cache)


def list_parameter_changes(dep: ParamsDependency, content: dict[str, Any]) -> Iterator[Change]:
    """The parameters that differ from the lock entry, in the `content` of their file."""
    recorded = dep.hash_info.value or {}
    for key in dep.params:
        before, now = recorded.get(key, ABSENT), look_up(key, content, ABSENT)
        if now is ABSENT or now != before:
            yield Change(f"{find_path(dep)}: {key}", is_extension(now, before))


def find_path(item: Output) -> str:
    """The path of a dependency or an output, relative to the project's folder."""
    return os.path.relpath(item.fs_path, item.repo.root_dir)


def is_code(path: str) -> bool:
    """Whether a path is that of the stages' code, or of a digest of code."""
    return f"{path}/".startswith(("stages/", "reports/code/"))


def is_extension(now: Any, before: Any) -> bool:
    """Whether a parameter, perhaps a section, is unchanged apart from new keys."""
    if before is ABSENT or now == before:
        return now is not ABSENT
    return (
        isinstance(now, dict)
        and isinstance(before, dict)
        and all(is_extension(now.get(key, ABSENT), value) for key, value in before.items())
    )
