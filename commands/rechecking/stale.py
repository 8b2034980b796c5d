"""Which trainings differ from their results in code alone, and which revision the results were made
with: by the lock files, through DVC."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.pipeline import digests, lockfile, outdated, repository
from commands.pipeline.outdated import Change
from stages.runtime import git
from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Training:
    """A stage train: its name is ``train@KEY``; paths are relative to the project's folder."""

    pipeline: str
    name: str
    address: str  # as DVC's commands take it
    command: str
    outs: tuple[str, ...]
    data: tuple[Path, ...]  # the dependencies that are no code
    entry: dict[str, Any] | None  # of the lock file; None where it never ran
    changes: tuple[Change, ...]  # what differs from the entry

    @property
    def key(self) -> str:
        return self.name.partition("@")[2]

    @property
    def lock(self) -> str:
        """The path of its lock file."""
        return Path(self.pipeline).with_suffix(".lock").as_posix()

    @property
    def other_changes(self) -> list[str]:
        """What differs and is not of code, with the data that the lock entry does not know."""
        known = {one["path"] for one in self.entry["deps"]}
        new = {str(path) for path in self.data} - known
        return sorted(new | {change.name for change in self.changes if change.of_inputs})

    @property
    def differing_on_disk(self) -> list[str]:
        """The data and results here that are not what the lock files say."""
        return [change.name for change in self.changes if change.on_disk]

    @property
    def new_outs(self) -> list[str]:
        """The outputs that the lock entry does not know."""
        return sorted({*self.outs} - {one["path"] for one in self.entry["outs"]})

    @property
    def missing(self) -> list[str]:
        """The data that are not here."""
        return [str(path) for path in self.data if not path.exists()]

    def predecessors(self, trainings: Iterable["Training"]) -> list["Training"]:
        """The trainings that this one goes on from, the first one first."""
        wanted = {str(path) for path in self.data}
        found = [one for one in trainings if wanted & set(one.outs)]
        return [earlier for one in found for earlier in (*one.predecessors(trainings), one)]


def find_trainings(pipeline: str) -> list[Training]:
    """All trainings of a pipeline, in its order; the digests of code that stages read are made anew
    before."""
    digests.refresh()
    entries = lockfile.read(Path(pipeline).with_suffix(".lock"))
    with repository.open_repo(None) as repo:
        compare = outdated.make_comparison(repo, repo.index.stages)
        return [
            Training(
                pipeline,
                stage.name,
                stage.addressing,
                stage.cmd,
                tuple(outdated.find_path(out) for out in stage.outs),
                tuple(
                    Path(place)
                    for dep in stage.deps
                    if not getattr(dep, "params", None)
                    and not outdated.is_code(place := outdated.find_path(dep))
                ),
                entries.get(stage.name),
                tuple(compare(stage)),
            )
            for stage in repo.stage.collect(pipeline)
            if stage.name.startswith("train@")
        ]


def find_revisions(trainings: Iterable[Training]) -> dict[str, str]:
    """The commit that the results of each training were made with, by its address: one that holds
    the same lock entry, and the code whose digests stand in it. Of several the earliest, which
    brought the entry. Trainings for which no commit is found are left out."""
    found: dict[str, str] = {}
    wanted = {one.address: one for one in trainings}
    tried = set()
    for commit, addresses in find_holders(list(wanted.values())).items():
        code = git.ask("rev-parse", f"{commit}:stages")
        left = [address for address in addresses if address not in found]
        if left and (code, *left) not in tried:
            tried.add((code, *left))
            try:
                current = find_current(commit, [wanted[address] for address in left])
            except repository.Unreadable:
                current = []
            found |= dict.fromkeys(current, commit)
    return found


def find_holders(trainings: list[Training]) -> dict[str, list[str]]:
    """The commits whose lock files hold the same entries as now, the earliest first, each with the
    addresses of these trainings."""
    holders: dict[str, list[str]] = {}
    equal: dict[tuple[str, str | None], list[str]] = {}  # by the lock file's path and content
    for commit in (git.ask("rev-list", "--topo-order", "--reverse", "HEAD") or "").split():
        for path in sorted({one.lock for one in trainings}):
            blob = git.ask("rev-parse", "--verify", "--quiet", f"{commit}:{path}")
            if (path, blob) not in equal:
                text = git.ask("cat-file", "blob", blob) if blob else None
                entries = read_entries(text, path) if text else {}
                equal[path, blob] = [
                    one.address
                    for one in trainings
                    if path == one.lock and entries.get(one.name) == one.entry
                ]
            if equal[path, blob]:
                holders.setdefault(commit, []).extend(equal[path, blob])
    return holders


def read_entries(text: str, path: str) -> lockfile.Lock:
    """The entries of a lock file of some commit; none where it is damaged, as with the marks of a
    conflict."""
    try:
        return lockfile.parse(text, path)
    except UserError:
        return {}


def find_current(commit: str, trainings: list[Training]) -> list[str]:
    """Those of the trainings whose code at a commit is the one that their lock entry there names,
    by their addresses."""
    with repository.open_repo(commit) as repo:
        compare = outdated.make_comparison(repo, repo.index.stages)
        if any(change.of_code for stage in digests.find_makers(repo) for change in compare(stage)):
            return []
        stages = {
            stage.addressing: stage
            for pipeline in {one.pipeline for one in trainings}
            for stage in repo.stage.collect(pipeline)
        }
        return [
            one.address
            for one in trainings
            if (stage := stages.get(one.address))
            and not any(change.of_code for change in compare(stage))
        ]


def carry_over(training: Training) -> None:
    """Bring the lock entry of a training up to date with the code, as ``dvc commit --force`` does.
    Outputs that are not here keep their digests. Raises `UserError` where one that is here has
    another, or where more than code differs now."""
    with repository.open_repo(None) as repo, repo.lock:
        (stage,) = repo.stage.collect(training.address)
        compare = outdated.make_comparison(repo, repo.index.stages)
        if others := [change.name for change in compare(stage) if change.of_inputs]:
            raise UserError(f"{', '.join(others)} changed while code was compared: start again")
        stage.save(allow_missing=True, run_cache=all(out.exists for out in stage.outs))
        entry = {out["path"]: out["md5"] for out in training.entry["outs"]}
        for out in stage.outs:
            if out.hash_info.value != entry[outdated.find_path(out)]:
                raise UserError(
                    f"{out} is not what dvc.lock says: `dvc checkout --force {out}` brings that "
                    "back from the cache"
                )
        stage.commit(allow_missing=True)
        stage.dump(update_pipeline=False)
