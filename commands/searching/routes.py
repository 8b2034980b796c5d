"""What the pipeline says of a search: which stages each run needs, and what its result depends
on."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.pipeline import graph, keys, repository
from commands.pipeline.process import run_dvc
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from dvc.stage import Stage

# they track all of `architectures`, of which a search changes nothing that they write down
UNMOVED = ("fingerprint", "weights")
SPLIT = "split"  # needed by a stage that checks whether its data are those of params.yaml


@dataclass(frozen=True)
class Route:
    """The stages that a run goes through, in their order, and those before them whose outputs it
    takes as they are."""

    stages: list[str]
    given: list[str]


def bring_up_to_date(target: str, remote: bool) -> graph.Plan:
    """Run what `target` depends on in the working tree, where it is not up to date. Returns the
    plan of `target`."""
    plan = graph.read([target])
    if plan.to_run - {target}:
        print("What the trials share, by `dvc repro`:", flush=True)
        pull = ["--pull"] if remote else []
        before = plan.instances[target].upstream
        if run_dvc("repro", *pull, *before):
            raise UserError("`dvc repro` failed: see above")
        plan = graph.read([target])
    return plan


def find_route(plan: graph.Plan, target: str, changed: list[str]) -> Route:
    """What must run to train `target` with other values of the keys `changed`."""
    from dvc.repo import Repo

    stages: list[str] = []
    with Repo() as repo:
        for address, instance in plan.instances.items():
            (stage,) = repo.stage.collect(address)
            moved = tracks(stage, changed) or set(stages).intersection(instance.upstream)
            if address == target or (moved and instance.bare_name not in UNMOVED):
                stages.append(address)
    given = {one for address in stages for one in plan.instances[address].upstream} | {SPLIT}
    return Route(stages, [one for one in plan.instances if one in given - set(stages)])


def tracks(stage: "Stage", changed: list[str]) -> bool:
    """Whether a stage tracks one of these keys of ``params.yaml``, or what is below or above it."""
    from dvc.dependency.param import ParamsDependency

    tracked = [
        name for dep in stage.deps if isinstance(dep, ParamsDependency) for name in dep.params
    ]
    return any(
        f"{one}.".startswith(f"{key}.") or f"{key}.".startswith(f"{one}.")
        for one in tracked
        for key in changed
    )


def describe_base(route: Route, searched: list[str], base: dict[str, Any]) -> dict[str, Any]:
    """What trials have in common that go through `route`: the digests of the data and code that its
    stages take from elsewhere, and the parameters that they track, of the values `base` of
    ``params.yaml``, without those `searched`."""
    from dvc.dependency.param import ParamsDependency
    from dvc.repo import Repo

    fixed, common = keys.leave_out(searched, base), {}
    with Repo() as repo, repository.hold_lock(repo):
        stages = [stage for address in route.stages for stage in repo.stage.collect(address)]
        made = [Path(out.fs_path) for stage in stages for out in stage.outs]
        for dep in (dep for stage in stages for dep in stage.deps):
            if isinstance(dep, ParamsDependency):
                common |= {name: keys.look_up(name, fixed) for name in dep.params}
            elif not any(Path(dep.fs_path).is_relative_to(one) for one in made):
                dep.save()
                common[dep.def_path] = dep.hash_info.value
    return common
