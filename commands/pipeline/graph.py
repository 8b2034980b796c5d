"""The graph of the pipeline, from DVC."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.stage import Stage

from commands.pipeline.repository import open_repo
from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Instance:
    """A stage instance: its address for `dvc repro`, its name in the lock file `lock`, and the
    addresses of its direct dependencies. `shareable`: whether DVC's run-cache can store its
    result."""

    address: str
    name: str
    lock: str
    upstream: tuple[str, ...]
    shareable: bool

    @property
    def bare_name(self) -> str:
        """The name of the stage without file and item."""
        return self.name.split("@")[0]


@dataclass(frozen=True)
class Plan:
    """All instances that the targets need, in topological order; the addresses `to_run` of those
    that are out of date or depend on one that is; and the addresses of all `stages`, including
    those that the targets do not need."""

    instances: dict[str, Instance]
    to_run: set[str]
    stages: list[str]

    def list_to_run(self, names: Collection[str]) -> list[str]:
        """The addresses in `to_run` of stages with these names, in any file."""
        return [
            address
            for address, instance in self.instances.items()
            if address in self.to_run and instance.bare_name in names
        ]

    def list_inputs(self, address: str, beyond: Collection[str]) -> list[str]:
        """The instances whose outputs an instance reads: its direct dependencies; if its stage is
        in `beyond`, also the indirect ones."""
        if self.instances[address].bare_name in beyond:
            return self.list_upstream(address)
        upstream = self.instances[address].upstream
        return [candidate for candidate in self.instances if candidate in upstream]

    def list_upstream(self, address: str) -> list[str]:
        """The direct and indirect dependencies of an instance."""
        needed = set(self.instances[address].upstream)
        for candidate in reversed(self.instances):
            if candidate in needed:
                needed.update(self.instances[candidate].upstream)
        return [candidate for candidate in self.instances if candidate in needed]

    def list_remote(self, here: Collection[str]) -> list[str]:
        """The addresses in `to_run` that can run on a cluster: not the stages `here`, not those
        that the run-cache cannot store, and nothing that depends on either."""
        local = set(self.list_to_run(here)) | {
            address for address in self.to_run if not self.instances[address].shareable
        }
        for address, instance in self.instances.items():
            if local.intersection(instance.upstream):
                local.add(address)
        return [address for address in self.instances if address in self.to_run - local]


def read_plan(targets: Iterable[str], without: Collection[str] = ()) -> Plan:
    """Ask DVC for the graph of `targets` (none: the root pipeline) and for what is out of date. The
    stages with the addresses `without` are left out with all their items, as if up to date. Raises
    `UserError` if DVC cannot read the pipeline, or has no such target.

    Holds DVC's lock for one stage at a time: otherwise a concurrent `dvc repro`, which takes the
    lock between two stages, would fail."""
    with open_repo(None) as repo:
        graph = get_active_graph(repo.index.graph)
        try:
            wanted = collect_stages(repo, list(targets) or ["dvc.yaml"])
        except DvcException as error:
            raise UserError(str(error)) from None
        stages = [
            stage
            for stage in plan_repro(graph, wanted)
            if stage.cmd and stage.addressing.split("@")[0] not in without
        ]
        instances = {
            stage.addressing: describe_stage(stage, graph.successors(stage)) for stage in stages
        }
        addresses = {stage.addressing.split("@")[0] for stage in graph if stage.cmd}
        changed = set()
        for stage in stages:
            with repo.lock:
                if stage.status():
                    changed.add(stage.addressing)
    for address, instance in instances.items():
        if changed.intersection(instance.upstream):
            changed.add(address)
    return Plan(instances, changed, sorted(addresses))


def describe_stage(stage: Stage, inputs: Iterable[Stage]) -> Instance:
    """A DVC stage as an `Instance`; `inputs`: those whose outputs it reads."""
    upstream = tuple(needed.addressing for needed in inputs if needed.cmd)
    lock = Path(stage.path_in_repo).with_suffix(".lock").as_posix()
    return Instance(stage.addressing, stage.name, lock, upstream, is_shareable(stage))


def is_shareable(stage: Stage) -> bool:
    """Whether the run-cache can store the result of a DVC stage: it has dependencies and outputs,
    all local."""
    return bool(stage.deps and stage.outs) and not (
        stage.frozen
        or stage.always_changed
        or any(dep.protocol != "local" for dep in stage.deps)
        or any(out.protocol != "local" or out.persist or not out.is_in_repo for out in stage.outs)
    )
