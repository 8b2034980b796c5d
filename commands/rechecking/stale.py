"""Find the trainings whose code alone has changed since their results, and the revision that
produced these, from the lock files and DVC."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException

from commands.pipeline import changes, digests, lockfile, repository
from commands.pipeline.changes import Change
from stages.runtime import git
from stages.runtime.errors import UserError
from stages.runtime.text import first_line


@dataclass(frozen=True)
class Training:
    """A train stage, named ``train@KEY``; paths are relative to the project's folder."""

    pipeline: str
    name: str
    address: str  # as DVC's commands take it
    command: str
    outs: tuple[str, ...]
    data: tuple[Path, ...]  # the dependencies other than code
    entry: dict[str, Any] | None  # in the lock file; None if it never ran
    changes: tuple[Change, ...]  # since the entry

    @property
    def key(self) -> str:
        return self.name.partition("@")[2]

    @property
    def lock(self) -> str:
        """The path of its lock file."""
        return Path(self.pipeline).with_suffix(".lock").as_posix()

    @property
    def is_outdated(self) -> bool:
        """Whether it has run, and code, data, parameters or its list of outputs have changed."""
        if self.entry is None:
            return False
        differs = any(not change.on_disk for change in self.changes)
        return bool(differs or self.other_changes or self.new_outs)

    @property
    def other_changes(self) -> list[str]:
        """What changed besides code, including data that the lock entry lacks."""
        known = {dep["path"] for dep in self.entry["deps"]}
        new = {str(path) for path in self.data} - known
        return sorted(new | {change.name for change in self.changes if change.of_inputs})

    @property
    def differing_on_disk(self) -> list[str]:
        """The data and results on disk that are not what the lock files say."""
        return [change.name for change in self.changes if change.on_disk]

    @property
    def new_outs(self) -> list[str]:
        """The outputs that the lock entry lacks."""
        return sorted({*self.outs} - {out["path"] for out in self.entry["outs"]})

    @property
    def missing(self) -> list[str]:
        """The data missing on disk."""
        return [str(path) for path in self.data if not path.exists()]

    def find_predecessors(self, trainings: Iterable["Training"]) -> list["Training"]:
        """The trainings that this one starts from, the earliest first."""
        inputs = {str(path) for path in self.data}
        direct = [training for training in trainings if inputs & set(training.outs)]
        return [
            predecessor
            for training in direct
            for predecessor in (*training.find_predecessors(trainings), training)
        ]


def find_trainings(pipeline: str) -> list[Training]:
    """All trainings of a pipeline, in its order. The digests of code that they read must be up to
    date (`digests.refresh`)."""
    entries = lockfile.read(Path(pipeline).with_suffix(".lock"))
    with repository.open_repo(None) as repo:
        comparison = changes.Comparison(repo.index.stages)
        return [
            Training(
                pipeline,
                stage.name,
                stage.addressing,
                stage.cmd,
                tuple(changes.find_path(out) for out in stage.outs),
                tuple(
                    Path(place)
                    for dep in stage.deps
                    if not getattr(dep, "params", None)
                    and not changes.is_code(place := changes.find_path(dep))
                ),
                entries.get(stage.name),
                tuple(comparison.list_changes(stage)),
            )
            for stage in repo.stage.collect(pipeline)
            if stage.name.startswith("train@")
        ]


def find_revisions(trainings: Sequence[Training]) -> dict[str, str]:
    """The commit that produced the results of each training, by address: the earliest with the same
    lock entry and with the code whose digests the entry has. Trainings without such a commit are
    left out."""
    revisions: dict[str, str] = {}
    tried = set()
    holders = find_holders(trainings)
    codes = git.find_objects(f"{commit}:stages" for commit in holders)
    for (commit, addresses), code in zip(holders.items(), codes):
        left = [address for address in addresses if address not in revisions]
        if left and (code, *left) not in tried:
            tried.add((code, *left))
            try:
                current = find_current(commit, left)
            except repository.Unreadable:
                current = []
            revisions |= dict.fromkeys(current, commit)
    return revisions


def find_holders(trainings: Sequence[Training]) -> dict[str, list[str]]:
    """The commits whose lock files have the same entries as now, the earliest first, each with the
    addresses of these trainings."""
    holders: dict[str, list[str]] = {}
    equal: dict[tuple[str, str | None], list[str]] = {}  # by the lock file's path and content
    commits = (git.ask("rev-list", "--topo-order", "--reverse", "HEAD") or "").split()
    paths = sorted({training.lock for training in trainings})
    places = [(commit, path) for commit in commits for path in paths]
    blobs = git.find_objects(f"{commit}:{path}" for commit, path in places)
    for (commit, path), blob in zip(places, blobs):
        if (path, blob) not in equal:
            text = git.ask("cat-file", "blob", blob) if blob else None
            entries = read_entries(text, path) if text else {}
            equal[path, blob] = [
                training.address
                for training in trainings
                if path == training.lock and entries.get(training.name) == training.entry
            ]
        if equal[path, blob]:
            holders.setdefault(commit, []).extend(equal[path, blob])
    return holders


def read_entries(text: str, path: str) -> lockfile.Lock:
    """The entries of a lock file in some commit; empty if it is damaged, as by conflict markers."""
    try:
        return lockfile.parse(text, path)
    except UserError:
        return {}


def find_current(commit: str, addresses: Sequence[str]) -> list[str]:
    """Those `addresses` of trainings whose code at a commit has the digests in their lock entry
    there."""
    with repository.open_repo(commit) as repo:
        comparison = changes.Comparison(repo.index.stages)
        makers = digests.find_makers(repo)
        if any(change.of_code for maker in makers for change in comparison.list_changes(maker)):
            return []
        return [
            stage.addressing
            for stage in repo.index.stages
            if stage.addressing in addresses
            and not any(change.of_code for change in comparison.list_changes(stage))
        ]


def carry_over(training: Training) -> None:
    """Update the lock entry of a training to the present code, as ``dvc commit --force`` does.
    Missing outputs keep their digests. Raises `UserError`, and changes nothing, if an existing one
    has another digest, or if more than code has changed by now. Raises `UserError` too if DVC's
    cache or the lock file cannot be written."""
    with repository.open_repo(None) as repo, repo.lock:
        (stage,) = repo.stage.collect(training.address)
        comparison = changes.Comparison(repo.index.stages)
        if others := [change.name for change in comparison.list_changes(stage) if change.of_inputs]:
            raise UserError(f"{', '.join(others)} changed during the comparison: start again")
        stage.save(allow_missing=True, run_cache=False)
        entry = {out["path"]: out["md5"] for out in training.entry["outs"]}
        for out in stage.outs:
            if out.hash_info.value != entry[changes.find_path(out)]:
                raise UserError(
                    f"{out} is not what {training.lock} says: `dvc checkout --force {out}` "
                    "restores it from the cache"
                )
        try:
            stage.commit(allow_missing=True)
            if all(out.exists for out in stage.outs):
                repo.stage_cache.save(stage)
            stage.dump(update_pipeline=False)
        except (DvcException, OSError) as error:
            raise UserError(
                f"DVC cannot write the results of {training.address} to its cache, or their entry "
                f"to {training.lock}: {first_line(error)}"
            ) from None
