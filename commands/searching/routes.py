"""Derive from the pipeline which stages each run of a search needs, and what its result depends
on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.stage import Stage

from commands.pipeline import graph, keys, repository
from commands.pipeline.process import run_dvc
from stages.params.reading import look_up
from stages.runtime.errors import UserError

# they track all of `architectures`, but a search changes nothing that affects their outputs
UNAFFECTED = ("fingerprint", "weights")
SPLIT = "split"  # some stages check by it whether the data belong to params.yaml


@dataclass(frozen=True)
class Route:
    """The stages that a run executes, in order, and those whose existing outputs it uses
    (`given`)."""

    stages: list[str]
    given: list[str]


def bring_up_to_date(target: str, remote: bool) -> graph.Plan:
    """Run the stages that `target` depends on in the working tree, if they are out of date. Returns
    the plan of `target`. Raises `UserError` if they fail."""
    plan = graph.read_plan([target])
    if plan.to_run - {target}:
        print("Running the stages that all trials share by `dvc repro`:", flush=True)
        pull = ["--pull"] if remote else []
        before = plan.instances[target].upstream
        if run_dvc("repro", *pull, *before):
            raise UserError("`dvc repro` failed: see above")
        plan = graph.read_plan([target])
    return plan


def find_route(plan: graph.Plan, target: str, changed: list[str]) -> Route:
    """The route of a run that trains `target` with other values of the keys `changed`."""
    stages: list[str] = []
    with Repo() as repo:
        for address, instance in plan.instances.items():
            (stage,) = repo.stage.collect(address)
            affected = is_tracking(stage, changed) or set(stages).intersection(instance.upstream)
            if address == target or (affected and instance.bare_name not in UNAFFECTED):
                stages.append(address)
    upstream = {name for address in stages for name in plan.instances[address].upstream}
    given = (upstream | {SPLIT}) - set(stages)
    return Route(stages, [address for address in plan.instances if address in given])


def is_tracking(stage: Stage, changed: list[str]) -> bool:
    """Whether a stage tracks one of these keys of ``params.yaml``, or a key below or above one."""
    tracked = [
        name for dep in stage.deps if isinstance(dep, ParamsDependency) for name in dep.params
    ]
    return any(
        f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}.")
        for name in tracked
        for key in changed
    )


def describe_base(route: Route, searched: list[str], base: dict[str, Any]) -> dict[str, Any]:
    """What all trials on `route` have in common: the digests of the data and code that its stages
    read from elsewhere, and the parameters that they track, with the values `base` of
    ``params.yaml``, without the keys `searched`."""
    fixed, common = keys.leave_out(searched, base), {}
    with Repo() as repo, repository.hold_lock(repo):
        stages = [stage for address in route.stages for stage in repo.stage.collect(address)]
        made = [Path(out.fs_path) for stage in stages for out in stage.outs]
        for dep in (dep for stage in stages for dep in stage.deps):
            if isinstance(dep, ParamsDependency):
                common |= {name: look_up(name, fixed) for name in dep.params}
            elif not any(Path(dep.fs_path).is_relative_to(output) for output in made):
                dep.save()
                common[dep.def_path] = dep.hash_info.value
    return common
