"""Run trainings on the cluster, and receive their epochs while they run."""

import json
import queue
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future

from commands.parallel import cluster
from commands.searching.routes import Route
from commands.searching.studies import Settings
from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Run:
    """One training. `name`: of its log, checkpoint folder and experiment. `parts`: of the data, to
    be measured."""

    name: str
    settings: Settings
    seed: int
    parts: tuple[str, ...] = ("validation",)


@dataclass
class Event:
    """An event of a run: new `rows` of its history, or its end, with the `result` of trial.py or
    the reason why it `failed`; `lost`: because of its worker, not of the training."""

    run: Run
    rows: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    failed: str | None = None
    lost: bool = False


@dataclass
class Runner:
    """Runs trainings of `model`. `name`: of this session on the cluster; `needs`: resources of a
    worker; `kept`: the folder of checkpoints of unfinished trainings; `logs`: the folder of
    logs."""

    client: Client
    name: str
    model: str
    needs: dict[str, float]
    remote: bool
    kept: Path
    logs: Path
    running: dict[str, tuple[Run, Future]] = field(default_factory=dict)
    events: queue.Queue = field(default_factory=queue.Queue)

    def check_workers(self) -> None:
        """Raise `UserError` if no worker has what a training needs."""
        if lack := cluster.find_lack(self.needs, cluster.list_offers(self.client)):
            raise UserError(f"params.yaml: parallel.resources: a training asks for {lack}")

    def has_room(self) -> bool:
        """Whether a worker is free for another run."""
        taken = [self.needs] * len(self.running)
        return cluster.can_start(self.needs, taken, cluster.list_offers(self.client))

    def start(self, run: Run, files: dict[str, str], route: Route) -> None:
        """Start a run in a clone with these `files`, texts by path."""
        request = {
            "address": run.name,  # of its events
            "module": "commands.searching.trial",
            "model": self.model,
            "files": files,
            "stages": route.stages,
            "given": route.given,
            "keep": str(self.kept / run.name),
            "parts": run.parts,
            "remote": self.remote,
        }
        future = cluster.submit(self.client, self.name, request, self.needs)
        self.running[run.name] = run, future
        future.add_done_callback(lambda future: self.events.put(("end", run.name, future)))

    def stop(self, run: Run) -> None:
        """Stop a run that is no longer wanted; its checkpoint is kept."""
        _, future = self.running.pop(run.name)
        future.cancel()

    def stop_all(self) -> None:
        for run, _ in list(self.running.values()):
            self.stop(run)

    def locate_log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def handle_message(self, event: tuple[float, dict]) -> None:
        """Handle a worker's message: output for the log, or the history so far."""
        message = event[1]
        if "text" in message:
            with open(self.locate_log(message["stage"]), "a", encoding="utf-8") as file:
                file.write(message["text"])
        elif "progress" in message:
            self.events.put(("rows", message["stage"], json.loads(message["progress"])))

    def wait(self) -> Event | None:
        """The next event of a run that is still wanted; None if there is none for a second."""
        try:
            kind, name, content = self.events.get(timeout=cluster.INTERVAL)
        except queue.Empty:
            return None
        if name not in self.running:
            return None
        run, future = self.running[name]
        if kind == "rows":
            return Event(run, rows=content)
        if content is not future:
            return None
        del self.running[name]
        if loss := cluster.describe_loss(future):
            return Event(run, failed=loss, lost=True)
        outcome = future.result()
        if outcome["status"]:
            return Event(run, failed=f"failed with exit status {outcome['status']}")
        return Event(run, result=outcome)
