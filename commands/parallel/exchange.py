"""How a stage's result goes from one DVC repository to another: through a cache that both use, or
through DVC's remote.

DVC's run-cache finds a result by the stage's command, dependencies and parameters. `dvc repro`
enters a stage there only when DVC caches all its outputs; `share` enters the others too, so that
what is declared ``cache: false`` (reports, large models) can travel. `dvc gc` frees what such
outputs take in the cache.
"""

import json
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from commands.pipeline import repository

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


TRIES = 5


def reproduce(repo: "Repo", address: str, remote: bool) -> None:
    """`dvc repro --single-item`. DVC fails when it looks at an entry of the run-cache just while
    another process writes it: then it is called again. Raises `DvcException`."""
    from dvc.exceptions import DvcException

    for left in reversed(range(TRIES)):
        try:
            repo.reproduce(address, single_item=True, pull=remote)
            return
        except DvcException as error:
            if not (left and came_too_early(error.__cause__, repo)):
                raise


def came_too_early(error: BaseException | None, repo: "Repo") -> bool:
    """Whether DVC found an entry of the run-cache half written: its folder was still empty, or the
    writer's temporary file in it was gone at the second look."""
    from dvc.stage import cache

    if isinstance(error, FileNotFoundError):
        return str(error.filename).startswith(repo.stage_cache.cache_dir)
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, TypeError) else []
    return any(frame.filename == cache.__file__ for frame in frames)


def share(repo: "Repo", stage: "Stage", remote: bool) -> None:
    """Put the outputs of an up-to-date `stage` into the cache and the stage into the run-cache;
    with `remote`, also into DVC's default remote: first the outputs, so that whoever finds the
    entry finds them too."""
    with repository.hold_lock(repo):
        repo.stage_cache.save(stage)
        if remote:
            if repo.cloud.push(list_objects(stage)).failed:
                raise RuntimeError(f"outputs of {stage.addressing} did not get into the remote")
            there = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
            repo.stage_cache.transfer(repo.cache.legacy, there, force=False)


def fetch_all(repo: "Repo", addresses: Iterable[str], remote: bool) -> None:
    """Make the outputs of the stages at `addresses` in the working tree what dvc.lock says, from
    the cache; with `remote`, what is not there comes from DVC's default remote."""
    for address in addresses:
        (stage,) = repo.stage.collect(address)
        with repository.hold_lock(repo):
            wanted = list_objects(stage)
            if remote and repo.cloud.pull(wanted).failed:
                raise RuntimeError(f"outputs of {address} did not come from the remote")
            for out in stage.outs:
                out.checkout(force=True)


def run(repo: "Repo", address: str, remote: bool) -> tuple[str, dict[str, Any]]:
    """`reproduce` a stage and `share` what it made. Returns its name and its entry in the lock
    file."""
    from dvc.stage.serialize import to_single_stage_lockfile

    reproduce(repo, address, remote)
    (stage,) = repo.stage.collect(address)
    share(repo, stage, remote)
    return stage.name, json.loads(json.dumps(to_single_stage_lockfile(stage)))


def list_objects(stage: "Stage") -> set:
    """The hashes of the outputs of `stage`, and of the files in them."""
    for out in stage.outs:
        # of this object in memory: DVC passes over outputs that it does not cache
        out.use_cache = True
    return set().union(*stage.get_used_objs().values())


def share_all(addresses: Iterable[str], remote: bool) -> None:
    """Put what up-to-date stages made where the workers find it."""
    from dvc.repo import Repo

    with Repo() as repo:
        for address in addresses:
            (stage,) = repo.stage.collect(address)
            share(repo, stage, remote)
