"""Submit stage instances to a Dask cluster, each as soon as its dependencies are done."""

import queue
import uuid
from typing import Any

from distributed import Client, Future

from commands.parallel import cluster, exchange, records
from commands.parallel.progress import Display
from commands.parallel.provision import find_needs, provide_clones, remember_environment
from commands.pipeline import graph
from stages.params.schema import Parallel


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
        self.environment = remember_environment()

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

    def describe_lack(self, client: Client) -> str | None:
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
