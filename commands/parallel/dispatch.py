"""Submit stage instances to a Dask cluster, each as soon as its dependencies are done."""

import contextlib
import os
import queue
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from configobj import ConfigObj
from distributed import Client, Future

from commands.parallel import cluster, exchange, records, worker
from commands.parallel.progress import Display
from commands.pipeline import graph, repository, snapshot
from stages.params.schema import Parallel

# variables that may change results; Dask sets some of them in its workers, PYTHONHASHSEED even in
# this process
BITS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KERAS_BACKEND", "PYTHONHASHSEED",
)  # fmt: skip


def find_needs(options: Parallel, address: str) -> dict[str, float]:
    """The resources that an instance takes: its own entry, else that of its stage, else none."""
    wanted = options.resources.get(address) or options.resources.get(address.split("@")[0])
    return (
        {name: amount for name, amount in wanted.model_dump().items() if amount} if wanted else {}
    )


class Dispatch:
    """A run of the instances `to_run` of a plan, in its order, with the environment variables from
    before Dask starts.

    After `run`: the addresses `done`, the errors of those that `failed`, and those still `waiting`
    because of that.
    """

    def __init__(self, plan: graph.Plan, to_run: list[str], options: Parallel, remote: bool):
        self.plan, self.options, self.remote = plan, options, remote
        self.name = f"parallel-{uuid.uuid4().hex[:12]}"
        self.waiting = {
            address: {needed for needed in plan.instances[address].upstream if needed in to_run}
            for address in to_run
        }
        self.done: list[str] = []
        self.failed: dict[str, str] = {}
        self.entries: dict[str, Any] = {}  # of lock files, by address
        self.environment = {variable: os.environ.get(variable) for variable in BITS}

    def run(self, client: Client, content: str, display: Display) -> None:
        """Run everything on the cluster of `client`, in clones with the tree `content`."""
        to_run = set(self.waiting)
        inputs = {needed for address in to_run for needed in self.list_inputs(address)}
        exchange.share_all(inputs - to_run, self.remote)
        with provide_clones(
            client, self.name, content, self.remote, self.environment, display.handle_message
        ):
            self.dispatch(client, display)

    def dispatch(self, client: Client, display: Display) -> None:
        """Submit only what the cluster can start at once: Dask moves queued tasks between workers
        by their expected durations, which it does not know here."""
        finished: queue.Queue[Future] = queue.Queue()
        running: dict[Future, str] = {}
        try:
            while self.waiting or running:
                offers = cluster.list_offers(client)
                for address in [address for address, needs in self.waiting.items() if not needs]:
                    if cluster.can_start(
                        find_needs(self.options, address),
                        [find_needs(self.options, other) for other in running.values()],
                        offers,
                    ):
                        del self.waiting[address]
                        future = self.submit(client, address)
                        running[future] = address
                        future.add_done_callback(finished.put)
                if not running and all(self.waiting.values()):
                    return  # the rest depends on failed instances
                try:
                    future = finished.get(timeout=cluster.INTERVAL)
                except queue.Empty:
                    continue
                address = running.pop(future)
                failure = self.record_outcome(address, future)
                display.end(address, failure)
                if failure:
                    self.failed[address] = f"{failure}: {display.locate_log(address)}"
        finally:
            client.cancel(list(running))

    def list_inputs(self, address: str) -> list[str]:
        return self.plan.list_inputs(address, self.options.beyond)

    def find_lack(self, client: Client) -> str | None:
        """A sentence on the first instance that asks for more than any worker has at the moment;
        None if there is none."""
        offers = cluster.list_offers(client)
        for address in self.waiting:
            if lack := cluster.find_lack(find_needs(self.options, address), offers):
                return f"{address} asks for {lack}"
        return None

    def submit(self, client: Client, address: str) -> Future:
        inputs = self.list_inputs(address)
        locks: dict[str, dict[str, Any]] = {}
        for instance in (self.plan.instances[upstream] for upstream in inputs):
            if instance.address in self.entries:
                entry = self.entries[instance.address]
                locks.setdefault(instance.lock, {})[instance.name] = entry
        request = {
            "module": "commands.parallel.instance",
            "address": address,
            "upstream": inputs,
            "locks": locks,
            "remote": self.remote,
        }
        return cluster.submit(client, self.name, request, find_needs(self.options, address))

    def record_outcome(self, address: str, future: Future) -> str | None:
        """Record the outcome of an instance. Returns what went wrong, if anything."""
        if loss := cluster.describe_loss(future):
            return f"failed: {loss}"
        outcome = future.result()
        if outcome["status"]:
            return f"failed with exit status {outcome['status']}"
        self.done.append(address)
        self.entries[address] = outcome["entry"]
        records.keep(self.plan.instances[address], outcome["entry"], outcome["records"])
        for needs in self.waiting.values():
            needs.discard(address)
        return None


@contextlib.contextmanager
def provide_clones(
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
    head, commit = snapshot.commit_tree(content)
    cache = Path(repository.find_cache())
    mark = None if remote else cache / name
    plugin = worker.Clones(
        name=name,
        bundle=snapshot.make_bundle(commit),
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
        finally:  # the cluster may outlive this run
            # errors from workers that have left: Ctrl-C also reaches those on this machine
            with contextlib.suppress(Exception):
                client.unregister_worker_plugin(name)
    finally:
        if mark:
            mark.unlink(missing_ok=True)


def format_config(cache: Path | None) -> str:
    """DVC's local configuration of a clone, with the `cache` of the working tree, or its own."""
    # the library with which DVC reads it: it quotes special characters such as #
    config = ConfigObj(interpolation=False)
    config["core"] = {"site_cache_dir": ".dvc/tmp/site"}
    if cache:
        config["cache"] = {"dir": str(cache), "type": "reflink,hardlink,copy"}
    return "\n".join([*config.write(), ""])
