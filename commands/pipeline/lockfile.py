"""Whether results belong to the code and the parameters beside them, and what they were made from:
by ``dvc.lock``, through DVC."""

import contextlib
import functools
import hashlib
import io
import json
import logging
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency.base import Dependency
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.output import Output
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.stage import Stage
from dvc.utils.serialize import load_path
from dvc_data.hashfile.tree import Tree
from ruamel.yaml import YAML, YAMLError
from voluptuous import Invalid

from commands.pipeline import keys
from stages.runtime import escape, git
from stages.runtime.errors import UserError

ABSENT = object()
COMMAND = "cmd"  # in an entry of a lock file
EMPTY = 'schema: "2.0"'  # a lock file before any stage has run
BUSY = "another command of DVC's runs in this folder: wait for it, or end it"
Lock = dict[str, Any]  # the stages of dvc.lock by their names


class Busy(UserError):
    """Another command of DVC's runs here."""


class Unreadable(UserError):
    """DVC cannot read a pipeline."""


@contextlib.contextmanager
def opened(revision: str | None) -> Iterator[Repo]:
    """DVC's view of the working tree, or of a temporary clone at `revision`, which is the current
    folder meanwhile and shares DVC's cache. Raises `Unreadable` where DVC cannot read the pipeline,
    `Busy` where another command of DVC's runs there.

    DVC's lock is not held meanwhile: a `dvc repro` that takes it between two stages would fail."""
    logging.getLogger("dvc").setLevel(logging.WARNING)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        config = stack.enter_context(clone_at(revision)) if revision else None
        try:
            repo = stack.enter_context(Repo(config=config))
            with repo.lock:
                pass
            yield repo
        except LockError:
            raise Busy(BUSY) from None
        except DvcException as error:
            where = f" of {revision[:7]}" if revision else ""
            why = str(error).replace(os.getcwd() + os.sep, "")
            raise Unreadable(f"DVC cannot read the pipeline{where}: {why}") from None


@contextlib.contextmanager
def locked(repo: Repo) -> Iterator[None]:
    """Hold DVC's lock. Raises `Busy` where another command of DVC's holds it for longer."""
    try:
        with repo.lock:
            yield
    except LockError:
        raise Busy(BUSY) from None


@contextlib.contextmanager
def clone_at(revision: str) -> Iterator[dict[str, Any]]:
    """Work in a temporary clone at `revision`. Gives the configuration with which DVC takes its
    cache from here, and leaves nothing of the clone elsewhere."""
    with Repo() as here:
        cache = here.cache.local_cache_dir
    with tempfile.TemporaryDirectory(prefix="revision-") as folder:
        clone = Path(folder) / "clone"
        options = ("--quiet", "--shared", "--no-checkout")
        git.run("clone", *options, os.getcwd(), str(clone))
        git.run("checkout", "--quiet", "--detach", revision, folder=clone)
        with contextlib.chdir(clone):
            yield {"cache": {"dir": cache}, "core": {"site_cache_dir": str(Path(folder) / "site")}}


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


def recheck_hint(stages: Iterable[Outdated]) -> str:
    """What to do where trainings are out of date by their code alone, as a sentence; empty where
    none is."""
    by_code = [one.stage for one in stages if one.by_code]
    trainings = [stage for stage in by_code if "train@" in stage]
    if not trainings and "fingerprint" not in by_code:
        return ""
    which = f"{', '.join(map(escape.code, trainings))}: only" if trainings else "Only"
    return (
        f"{which} the code of trainings changed. `make recheck` shows in minutes whether it "
        "computes the same; if so, it updates dvc.lock without training"
    )


def outdated(revision: str | None = None) -> list[Outdated]:
    """The stages of the root pipeline that ``dvc repro`` would run, in the working tree, or at
    `revision`; empty where ``dvc.lock`` is up to date. Each is looked at by itself: those that
    depend on it are not named. Raises `UserError` where DVC cannot read the pipeline.

    Data and models need not be there (as for ``dvc repro --allow-missing``): their digests in
    ``dvc.lock`` do. Results that lie in git (``cache: false``) must be there."""
    with opened(revision) as repo:
        needed = plan_repro(get_active_graph(repo.index.graph), collect_stages(repo, ["dvc.yaml"]))
        return found(repo, [stage for stage in repo.index.stages if stage in needed])


def outdated_replications(revision: str | None = None) -> list[Outdated]:
    """The stages whose results are in the replications' table, but not those of the code and
    parameters; as `outdated`, but their data and models lie nowhere else, and may be missing."""
    with opened(revision) as repo:
        path = Path("replications/dvc.lock")
        have_run = {
            "table",
            *(parse(path.read_text(encoding="utf-8"), str(path)) if path.exists() else ()),
        }
        stages = [
            stage for stage in repo.stage.collect("replications/dvc.yaml") if stage.name in have_run
        ]
        return [one for one in found(repo, stages) if one.stale]


def found(repo: Repo, stages: list[Stage]) -> list[Outdated]:
    """Those of `stages` that are out of date. Files that `dvc add` tracks are inputs, not stages to
    run, and are compared with what the stages read."""
    compare, result = comparison(repo, stages), []
    for stage in filter(lambda stage: stage.cmd, stages):
        missing = tuple(str(out) for out in stage.outs if not out.use_cache and not out.exists)
        every = list(compare(stage))
        if every or missing:
            has_run = any(out.hash_info for out in stage.outs)
            by_code = (
                has_run
                and all(one.of_code for one in every)
                and any(is_code(one.name) or one.name == COMMAND for one in every)
            )
            result.append(Outdated(stage.addressing, bool(every), missing, by_code))
    return result


def comparison(repo: Repo, stages: Iterable[Stage]) -> Callable[[Stage], Iterator["Change"]]:
    """The function that lists what differs between one of `stages` and its lock entry."""
    made = Made(stages)
    read = functools.cache(lambda path: load_path(path, repo.fs) if os.path.exists(path) else {})
    return lambda stage: changes(stage, made, read)


class Made:
    """What lock files say of the files that `stages` make, for files that are not here."""

    def __init__(self, stages: Iterable[Stage]):
        self.outs = {out.fs_path: out for stage in stages for out in stage.outs}
        self.recorded = defaultdict(set)  # the digests that stages have read each path with
        for dep in (dep for stage in stages for dep in stage.deps):
            self.recorded[dep.fs_path].add(str(dep.hash_info))

    def proves_another(self, dep: Dependency) -> bool:
        """Whether `dep` is not what its stage has read, as far as it can be known.

        A whole output has its digest in the lock file. A file inside an output that is a folder has
        none: it is looked up in the folder's list of files where DVC's cache holds that, and
        otherwise compared with what other stages have read. Where these disagree, one of them has
        read another file, and nothing says which."""
        place = next((one for one in parents(dep.fs_path) if one in self.outs), None)
        if place == dep.fs_path:
            return self.outs[place].hash_info != dep.hash_info
        if place and isinstance(folder := self.outs[place].get_obj(), Tree):
            parts = Path(dep.fs_path).relative_to(place).parts
            inside = folder.get_obj(self.outs[place].cache, parts)  # a file, or a folder in it
            return inside is None or inside.hash_info != dep.hash_info
        return len(self.recorded[dep.fs_path]) > 1


def parents(path: str) -> list[str]:
    """A path and the folders that it lies in, the innermost first."""
    return [path, *map(str, Path(path).parents)]


@dataclass(frozen=True)
class Change:
    """What differs between a stage and its lock entry: ``cmd``, or a path, or a parameter.
    `of_code`: what `make recheck` can judge, which runs both codes on their own parameters: code, a
    digest of code, or a parameter that the entry does not know."""

    name: str
    of_code: bool


def changes(stage: Stage, made: Made, read: Callable[[str], Any]) -> Iterator[Change]:
    """What differs between a stage and its lock entry, as ``stage.changed(allow_missing=True)``
    looks at it, and more: DVC takes a missing file inside a folder for unchanged, and `made` may
    prove that it is another. DVC also parses the files of parameters anew for each stage, which
    would be a third of a review's time; `read` gives the content of such a file."""
    if stage.changed_stage():
        yield Change(COMMAND, True)
    for out in stage.outs:
        known = out.hash_info and out.status().get(str(out), "deleted")
        if known not in ("not in cache", "deleted"):
            yield Change(path_of(out), is_code(path_of(out)))
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
                    yield Change(f"{path_of(dep)}: {key}", extends(now, before))
            continue
        status = dep.status().get(str(dep))
        if status == "deleted":  # not here, but what it was may stand in the lock file
            status = not dep.hash_info or made.proves_another(dep)
        if status:
            yield Change(path_of(dep), is_code(path_of(dep)))


def path_of(item: Output) -> str:
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


def parse(text: str, name: str = "dvc.lock") -> Lock:
    """The stages of a lock file, by its text. Raises `UserError` when that is damaged; `name` says
    which file it is."""
    try:
        return COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(text)).get("stages", {})
    except (YAMLError, ValueError, Invalid):
        raise UserError(
            f"{name} is damaged: bring an earlier version back by git, or make it anew by `dvc "
            "repro`"
        ) from None


def parameters(lock: Lock, stage: str) -> dict[str, Any]:
    """The parameters that made the results of `stage`, without the seed."""
    return {
        key: value for key, value in lock[stage]["params"]["params.yaml"].items() if key != "seed"
    }


def digests(lock: Lock, stage: str, kind: str = "deps") -> dict[str, str]:
    """The digests of what `stage` depends on, or of its outputs (`kind` outs), by their paths."""
    return {entry["path"]: entry["md5"] for entry in lock.get(stage, {}).get(kind, [])}


def digest(value: Any) -> str:
    """A short digest of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
