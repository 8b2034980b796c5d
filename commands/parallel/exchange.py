"""Transfer a stage's result from one DVC repository to another: through a shared cache, or through
DVC's remote.

DVC's run-cache finds a result by the stage's command, dependencies and parameters. `dvc repro`
stores a stage there only if DVC caches all its outputs; `share` stores the others too, so that
outputs declared ``cache: false`` (reports, large models) can be transferred. `dvc gc` frees their
space in the cache.
"""

import json
import traceback
from collections.abc import Iterable
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage, cache
from dvc.stage.serialize import to_single_stage_lockfile

from commands.pipeline import repository
from stages.runtime.errors import UserError
from stages.runtime.text import first_line

TRIES = 5


def reproduce(repo: Repo, address: str, remote: bool) -> None:
    """Run `dvc repro --single-item`; retry it if DVC fails because another process is just writing
    an entry of the run-cache. Raises `DvcException`."""
    for left in reversed(range(TRIES)):
        try:
            repo.reproduce(address, single_item=True, pull=remote)
            return
        except DvcException as error:
            if not (left and is_from_race(error.__cause__, repo)):
                raise


def is_from_race(error: BaseException | None, repo: Repo) -> bool:
    """Whether DVC failed on a half-written entry of the run-cache: its folder was still empty, or
    the writer's temporary file vanished."""
    if isinstance(error, FileNotFoundError):
        return str(error.filename).startswith(repo.stage_cache.cache_dir)
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, TypeError) else []
    return any(frame.filename == cache.__file__ for frame in frames)


def share(repo: Repo, stage: Stage, remote: bool) -> None:
    """Store the outputs of an up-to-date `stage` in the cache, and the stage in the run-cache; with
    `remote`, also in DVC's default remote: the outputs first, so that whoever finds the entry also
    finds them."""
    with repository.hold_lock(repo):
        repo.stage_cache.save(stage)
        if remote:
            push(repo, stage)


def push(repo: Repo, stage: Stage) -> None:
    """Store the outputs of a `stage` in DVC's default remote, and then its entry of the run-cache.
    Raises `UserError` if the remote does not take them."""
    try:
        if repo.cloud.push(list_objects(stage)).failed:
            raise RuntimeError(f"outputs of {stage.addressing} could not be pushed")
        target = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name="md5-dos2unix")
        repo.stage_cache.transfer(repo.cache.legacy, target, force=False)
    except Exception as error:  # the library of a remote may raise anything
        raise UserError(
            f"DVC's default remote does not take results: {first_line(error)}. `dvc push` tests it"
        ) from None


def fetch_all(repo: Repo, addresses: Iterable[str], remote: bool) -> None:
    """Check out the outputs of the stages at `addresses` from the cache; with `remote`, what is
    missing there comes from DVC's default remote."""
    for address in addresses:
        (stage,) = repo.stage.collect(address)
        with repository.hold_lock(repo):
            wanted = list_objects(stage)
            if remote and repo.cloud.pull(wanted).failed:
                raise RuntimeError(f"outputs of {address} could not be pulled")
            for out in stage.outs:
                out.checkout(force=True)


def run(repo: Repo, address: str, remote: bool) -> tuple[str, dict[str, Any]]:
    """`reproduce` a stage and `share` what it made. Returns its name and its entry in the lock
    file."""
    reproduce(repo, address, remote)
    (stage,) = repo.stage.collect(address)
    share(repo, stage, remote)
    return stage.name, json.loads(json.dumps(to_single_stage_lockfile(stage)))


def list_objects(stage: Stage) -> set:
    """The hashes of the outputs of `stage`, and of the files in them."""
    for out in stage.outs:
        # only in memory: DVC would skip outputs that it does not cache
        out.use_cache = True
    return set().union(*stage.get_used_objs().values())


def share_all(addresses: Iterable[str], remote: bool) -> None:
    """`share` the results of up-to-date stages, so that the workers find them. Raises `UserError`
    if the remote does not take them."""
    with Repo() as repo:
        for address in addresses:
            (stage,) = repo.stage.collect(address)
            share(repo, stage, remote)
