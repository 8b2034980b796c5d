"""The Dask cluster that the stages run on: processes on this machine, or an existing cluster."""

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dask
from distributed import Client, Future, Nanny, Scheduler, SpecCluster
from distributed.comm import connect as dask_connect
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from commands.parallel import worker
from stages.runtime.errors import UserError
from stages.runtime.text import first_line

GPUS = "CUDA_VISIBLE_DEVICES"
WAIT = 10.0  # seconds for a scheduler to answer
INTERVAL = 1.0  # seconds between two looks at the cluster, since workers may join
LOST = (
    "the Dask scheduler was lost, and with it all running stages: finished results are in the "
    "cache, and the next run uses them"
)
SETTINGS = {
    # Dask's own monitoring: costs 1.4 % of a core for each worker
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
    # environment variables, such as OMP_NUM_THREADS=1, that Dask would set in this process and its
    # workers
    "distributed.nanny.pre-spawn-environ": {},
}
# run first in a worker: the terminal sends Ctrl-C to it too, which would end it with a traceback;
# the process that started it stops it
PRELOAD = """import signal
signal.signal(signal.SIGINT, lambda *_: None)
"""


def connect(
    scheduler: str | None, workers: int, scratch: Path
) -> contextlib.AbstractContextManager[Client]:
    """A client of the cluster at the address `scheduler`, or of `workers` processes started here,
    which keep their files in the folder `scratch`. Raises `UserError` if no scheduler answers."""
    cloudpickle.register_pickle_by_value(worker)
    return join(scheduler) if scheduler else start(workers, scratch)


def join(scheduler: str) -> Client:
    """A client of an existing cluster. Raises `UserError` if no scheduler answers."""
    try:
        asyncio.run(asyncio.wait_for(greet(scheduler), WAIT))
        return Client(scheduler, timeout=WAIT, set_as_default=False)
    # TypeError: tls:// without certificates
    except (OSError, TimeoutError, TypeError, ValueError) as error:
        why = str(error) or f"not within {WAIT:.0f} s"
        raise UserError(f"no Dask scheduler answers at {scheduler}: {why}") from None


@contextlib.contextmanager
def start(workers: int, scratch: Path) -> Iterator[Client]:
    """A client of a cluster of processes on this machine, which ends with the block."""
    with (
        dask.config.set(SETTINGS),
        SpecCluster(
            workers=specify_workers(workers, scratch),
            scheduler={
                "cls": Scheduler,
                "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
            },
            silence_logs=logging.CRITICAL,
            shutdown_on_close=True,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


async def greet(address: str) -> None:
    """Connect to `address` once, as a Dask client does; a client itself would keep retrying in the
    background."""
    connection = await dask_connect(address, **Security().get_connection_args("client"))
    await connection.close()


def specify_workers(workers: int, scratch: Path) -> dict[int, dict[str, Any]]:
    """The workers for Dask to start here: single-threaded processes that share evenly the memory
    that this process may use; each GPU belongs to one of them."""
    memory = MEMORY_LIMIT / 1e9 / workers  # less than the machine has in a container
    options = {
        "nthreads": 1,
        "local_directory": str(scratch),
        "memory_limit": 0,  # Dask would watch its own processes, not the stages
        "silence_logs": logging.CRITICAL,
        "host": "127.0.0.1",
        "preload": [PRELOAD],
    }
    devices = dict(enumerate(list_gpus()[:workers]))
    return {
        number: {
            "cls": Nanny,
            "options": options
            | {
                "resources": {"memory": memory, "gpu": int(number in devices)},
                "env": {GPUS: devices.get(number, "-1")},
            },
        }
        for number in range(workers)
    }


def list_gpus() -> list[str]:
    """The GPUs of this machine, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if GPUS in os.environ:
        return [name for name in os.environ[GPUS].split(",") if name not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def submit(client: Client, name: str, request: dict[str, Any], needs: dict[str, float]) -> Future:
    """Submit a `request`, as `worker` takes it, to run in a clone of the run `name` on a worker
    that has what the stage `needs`. The task's key contains the request's address."""
    # a lambda, since Dask would send a named function as a reference to this module, which workers
    # lack
    return client.submit(
        lambda: worker.run(name, request, "gpu" in needs),
        key=f"{request['address']}-{name}",
        resources=needs or None,
    )


def describe_loss(future: Future) -> str | None:
    """Why a finished task has no outcome, through no fault of its stage; None if it has one. Raises
    `UserError` if the scheduler, and with it all tasks, was lost."""
    if future.status in ("cancelled", "lost"):  # tasks cancelled here are not waited for
        raise UserError(LOST)
    return first_line(future.exception()) if future.status == "error" else None


def list_offers(client: Client) -> list[dict[str, float]]:
    """The threads and resources of each worker of the cluster. Raises `UserError` if its scheduler
    was lost."""
    known = client.scheduler_info(n_workers=-1)
    if "workers" not in known:  # the client has given up
        raise UserError(LOST)
    return [
        {**worker["resources"], "threads": worker["nthreads"]}
        for worker in known["workers"].values()
    ]


def can_start(
    needs: dict[str, float], taken: list[dict[str, float]], offers: list[dict[str, float]]
) -> bool:
    """Whether a stage with these `needs` can start beside stages that have `taken` theirs: one
    worker has enough of everything, and the workers together have enough left."""
    needs = {"threads": 1} | needs
    if not any(
        all(offer.get(name, 0) >= amount for name, amount in needs.items()) for offer in offers
    ):
        return False
    used = {name: sum(({"threads": 1} | other).get(name, 0) for other in taken) for name in needs}
    return all(
        sum(offer.get(name, 0) for offer in offers) - used[name] >= amount
        for name, amount in needs.items()
    )


def find_lack(needs: dict[str, float], offers: list[dict[str, float]]) -> str | None:
    """What a stage with these `needs` asks for, in words, if no worker has all of it at the moment;
    None if one has."""
    if can_start(needs, [], offers):
        return None
    if not offers:
        return "a worker, and there is none at the moment"
    asked = []
    for name, amount in needs.items():
        largest = max(offer.get(name, 0) for offer in offers)
        asked.append(f"{name} {amount:g} (the most that a worker has: {largest:g})")
    return f"{', '.join(asked)}, and no worker has all of that at the moment"
