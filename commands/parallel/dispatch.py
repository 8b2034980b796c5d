"""Submit stage instances to a Dask cluster, each as soon as those that it depends on are done."""

import contextlib
import os
import queue
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from configobj import ConfigObj
from distributed import Client, Future

from commands.parallel import cluster, exchange, worker
from commands.parallel.progress import Display
from commands.pipeline import graph, repository, snapshot
from stages.params.schema import Parallel

# variables that may change bits; Dask sets some of them in its workers, PYTHONHASHSEED even in this
# process
BITS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KERAS_BACKEND", "PYTHONHASHSEED",
)  # fmt: skip


def find_needs(options: Parallel, address: str) -> dict[str, float]:
    """What an instance takes of a worker: the entry of the instance itself, else of its stage, else
    nothing."""
    wanted = options.resources.get(address) or options.resources.get(address.split("@")[0])
    return (
        {name: amount for name, amount in wanted.model_dump().items() if amount} if wanted else {}
    )


class Dispatch:
    """One run of the instances `to_run` of a plan, in its order, with the environment as it is
    before Dask starts.

    After `run`: the addresses `done`, what went wrong with those `failed`, those still
    `waiting` because of that, and the text of the `records` by path.
    """

    def __init__(self, plan: graph.Plan, to_run: list[str], options: Parallel, remote: bool):
        self.plan, self.options, self.remote = plan, options, remote
        self.name = f"parallel-{uuid.uuid4().hex[:12]}"
        self.waiting = {
            address: {one for one in plan.instances[address].upstream if one in to_run}
            for address in to_run
        }
        self.done: list[str] = []
        self.failed: dict[str, str] = {}
        self.records: dict[str, str] = {}
        self.entries: dict[str, Any] = {}  # of lock files, by address
        self.environment = {one: os.environ.get(one) for one in BITS}

    def run(self, client: Client, content: str, show: Display) -> None:
        """Run all on the cluster of `client`, with the tree `content` of the working tree."""
        to_run = set(self.waiting)
        exchange.share_all(
            {one for address in to_run for one in self.read_by(address)} - to_run, self.remote
        )
        with clones(client, self.name, content, self.remote, self.environment, show.event):
            self.dispatch(client, show)

    def dispatch(self, client: Client, show: Display) -> None:
        """Give the cluster only what it can start at once. What waits in the queue of one of Dask's
        workers moves to another by the time that Dask expects of it, and that nobody knows here."""
        finished: queue.Queue[Future] = queue.Queue()
        running: dict[Future, str] = {}
        try:
            while self.waiting or running:
                offers = cluster.list_offers(client)
                for address in [address for address, needs in self.waiting.items() if not needs]:
                    if cluster.fits(
                        find_needs(self.options, address),
                        [find_needs(self.options, one) for one in running.values()],
                        offers,
                    ):
                        del self.waiting[address]
                        future = self.submit(client, address)
                        running[future] = address
                        future.add_done_callback(finished.put)
                if not running and all(self.waiting.values()):
                    return  # the rest waits for what has failed
                try:
                    future = finished.get(timeout=cluster.LOOK)
                except queue.Empty:
                    continue
                address = running.pop(future)
                failure = self.take(address, future)
                show.end(address, failure)
                if failure:
                    self.failed[address] = f"{failure}: {show.log(address)}"
        finally:
            client.cancel(list(running))

    def read_by(self, address: str) -> list[str]:
        return self.plan.read_by(address, self.options.beyond)

    def check(self, client: Client) -> str | None:
        """Say which instance asks for more than any worker has at this moment, if one does."""
        offers = cluster.list_offers(client)
        for address in self.waiting:
            needs = find_needs(self.options, address)
            if not cluster.fits(needs, [], offers):
                most = {
                    name: max((offer.get(name, 0) for offer in offers), default=0) for name in needs
                }
                asked = [
                    f"{name} {amount:g} (the most that a worker has: {most[name]:g})"
                    for name, amount in needs.items()
                ]
                return f"{address} asks for {', '.join(asked) or 'a worker, and there is none'}"
        return None

    def submit(self, client: Client, address: str) -> Future:
        read = self.read_by(address)
        locks: dict[str, dict[str, Any]] = {}
        for one in (self.plan.instances[upstream] for upstream in read):
            if one.address in self.entries:
                locks.setdefault(one.lock, {})[one.name] = self.entries[one.address]
        request = {
            "module": "commands.parallel.instance",
            "address": address,
            "upstream": read,
            "locks": locks,
            "remote": self.remote,
        }
        return cluster.submit(client, self.name, request, find_needs(self.options, address))

    def take(self, address: str, future: Future) -> str | None:
        """Take up the outcome of an instance; returns what went wrong, if anything."""
        if loss := cluster.describe_loss(future):
            return f"failed: {loss}"
        outcome = future.result()
        if outcome["status"]:
            return f"failed with exit status {outcome['status']}"
        self.done.append(address)
        self.entries[address] = outcome["entry"]
        self.records |= outcome["records"]
        for needs in self.waiting.values():
            needs.discard(address)
        return None


@contextlib.contextmanager
def clones(
    client: Client,
    name: str,
    content: str,
    remote: bool,
    environment: dict[str, str | None],
    handle_message: Callable[[tuple[float, dict]], None],
) -> Iterator[None]:
    """Give each worker of the cluster clones with the tree `content`, for the run `name`. They
    share the working tree's cache unless they use its `remote`. `handle_message` gets their
    events."""
    head, commit = snapshot.commit(content)
    cache = Path(repository.find_cache())
    mark = None if remote else cache / name
    plugin = worker.Clones(
        name=name,
        bundle=snapshot.bundle(commit),
        head=head,
        snapshot=commit,
        config=format_config(None if remote else cache),
        mark=mark and str(mark),
        environment=environment,
    )
    try:
        if mark:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        client.subscribe_topic(name, handle_message)
        client.register_plugin(plugin, name=name)
        try:
            yield
        finally:  # the cluster may live on
            # of workers that have come or gone: Ctrl-C reaches those on this machine too
            with contextlib.suppress(Exception):
                client.unregister_worker_plugin(name)
    finally:
        if mark:
            mark.unlink(missing_ok=True)


def format_config(cache: Path | None) -> str:
    """DVC's local configuration of a clone: the cache of the one who started the run, or the
    machine's own."""
    # with which DVC reads it: it quotes what has a meaning there, such as #
    config = ConfigObj(interpolation=False)
    config["core"] = {"site_cache_dir": ".dvc/tmp/site"}
    if cache:
        config["cache"] = {"dir": str(cache), "type": "reflink,hardlink,copy"}
    return "\n".join([*config.write(), ""])
