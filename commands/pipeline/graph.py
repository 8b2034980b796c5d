"""The pipeline's graph, as DVC sees it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Instance:
    """A stage instance: its address as `dvc repro` takes it, its name in the lock file `lock`, and
    the instances that it depends on directly. `shareable`: whether DVC's run-cache can hold its
    result."""

    address: str
    name: str
    lock: str
    upstream: tuple[str, ...]
    shareable: bool

    @property
    def bare_name(self) -> str:
        """The name of the stage alone, without its file and without the item."""
        return self.name.split("@")[0]


@dataclass(frozen=True)
class Plan:
    """All that the targets need, each instance behind those that it depends on; the addresses
    `to_run`: of what is not up to date, or stands behind something that is not; and the
    addresses of all `stages`, also of those that the targets do not need."""

    instances: dict[str, Instance]
    to_run: set[str]
    stages: list[str]

    def of_stages(self, names: Collection[str]) -> list[str]:
        """Those of `to_run` that are instances of stages with these names, in whatever file."""
        return [
            address
            for address, one in self.instances.items()
            if address in self.to_run and one.bare_name in names
        ]

    def read_by(self, address: str, beyond: Collection[str]) -> list[str]:
        """The instances whose outputs an instance needs: those that it depends on directly; all
        before it, where its stage is of those `beyond`."""
        if self.instances[address].bare_name in beyond:
            return self.list_upstream(address)
        return [one for one in self.instances if one in self.instances[address].upstream]

    def list_upstream(self, address: str) -> list[str]:
        """The instances that one depends on, directly or not."""
        needed = set(self.instances[address].upstream)
        for one in reversed(self.instances):
            if one in needed:
                needed.update(self.instances[one].upstream)
        return [one for one in self.instances if one in needed]

    def can_travel(self, here: Collection[str]) -> list[str]:
        """What of `to_run` can run elsewhere: without what the run-cache cannot hold, the stages
        `here`, and all that depends on these."""
        stay = set(self.of_stages(here)) | {
            address for address in self.to_run if not self.instances[address].shareable
        }
        for address, instance in self.instances.items():
            if stay.intersection(instance.upstream):
                stay.add(address)
        return [address for address in self.instances if address in self.to_run - stay]


def read(targets: Iterable[str], without: Collection[str] = ()) -> Plan:
    """Ask DVC for the graph of `targets` (none: the root pipeline) and for what is not up to date.
    The stages `without`, by address, are left out, as if they were up to date, with all their
    items. Raises `UserError` when DVC cannot read the pipeline, or has no such
    target.

    DVC's lock is held for one stage at a time: a `dvc repro` that takes it between two stages would
    else fail."""
    from dvc.exceptions import DvcException
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    from commands.pipeline.repository import hold_lock, open_repo

    with open_repo(None) as repo:
        graph = get_active_graph(repo.index.graph)
        try:
            wanted = collect_stages(repo, list(targets) or ["dvc.yaml"])
        except DvcException as error:
            raise UserError(str(error)) from None
        stages = plan_repro(graph, wanted)
        stages = [stage for stage in stages if stage.addressing.split("@")[0] not in without]
        instances = {}
        for stage in stages:
            if stage.cmd:
                upstream = tuple(one.addressing for one in graph.successors(stage) if one.cmd)
                lock = Path(stage.path_in_repo).with_suffix(".lock").as_posix()
                instances[stage.addressing] = Instance(
                    stage.addressing, stage.name, lock, upstream, is_shareable(stage)
                )
        every = {stage.addressing.split("@")[0] for stage in graph if stage.cmd}
        changed = set()
        for stage in stages:
            with hold_lock(repo):
                if stage.addressing in instances and stage.status():
                    changed.add(stage.addressing)
    for address, instance in instances.items():
        if changed.intersection(instance.upstream):
            changed.add(address)
    return Plan(instances, changed, sorted(every))


def is_shareable(stage) -> bool:
    """Whether the run-cache can hold what this stage of DVC's makes: it has dependencies and
    outputs, all local."""
    return bool(stage.cmd and stage.deps and stage.outs) and not (
        stage.frozen
        or stage.always_changed
        or any(dep.protocol != "local" for dep in stage.deps)
        or any(out.protocol != "local" or out.persist or not out.is_in_repo for out in stage.outs)
    )


def has_remote() -> bool:
    """Whether DVC has a default remote."""
    from dvc.repo import Repo

    with Repo() as repo:
        return bool(repo.config["core"].get("remote"))
