"""What a Dask worker does: keep clones of the project, one a thread, and run one stage instance at
a time in each.

Sent to the workers as source, by value: they need the project's requirements and git, and no copy
of the project.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

BEAT = 0.2  # seconds between two looks at a running stage
GRACE = 5.0  # seconds that a stage has to end


@dataclass(eq=False)
class Clones(WorkerPlugin):
    """The project as it was when the run began, on one worker. The working tree belongs to the
    commit `head`; what `snapshot` holds beyond it is not committed in the clones either."""

    name: str  # of this run; events go to the topic of this name
    bundle: bytes  # a git bundle with the commit `snapshot`
    head: str
    snapshot: str
    config: str  # the content of DVC's configuration file in the clones
    mark: str | None  # a file that the worker must see too, where a cache folder is shared
    environment: dict[str, str | None]  # of the stages, in place of the worker's own
    running: set[str] = field(default_factory=set)  # the tasks under way
    ended: bool = False

    def setup(self, worker: Worker) -> None:
        self.folder = Path(worker.local_directory) / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "bundle").write_bytes(self.bundle)

    async def teardown(self, worker: Worker) -> None:
        """End what runs, and remove the clones."""
        self.ended = True
        while self.running:
            await asyncio.sleep(BEAT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def clone(self) -> Path:
        """The clone of this thread."""
        clone = self.folder / f"clone-{threading.get_ident()}"
        if not (clone / ".dvc/config.local").exists():
            if self.mark and not Path(self.mark).exists():
                cache = Path(self.mark).parent
                raise RuntimeError(
                    f"{socket.gethostname()} does not see the cache folder {cache} of the one who "
                    "started the run"
                )
            shutil.rmtree(clone, ignore_errors=True)
            git(self.folder, "init", "--quiet", str(clone))
            git(clone, "fetch", "--quiet", str(self.folder / "bundle"), "refs/*:refs/*")
            git(clone, "checkout", "--quiet", "--detach", self.snapshot)
            git(clone, "reset", "--quiet", "--mixed", self.head)
            (clone / ".dvc/config.local").write_text(self.config, encoding="utf-8")
        return clone

    def run(self, request: dict[str, Any], gpu: bool) -> dict[str, Any]:
        """Run the `module` of a request; returns its `status` and, after success, what it left as
        result.json. Its output goes out as events."""
        key = get_worker().get_current_task()
        self.running.add(key)
        try:
            return self.run_task(key, request, gpu)
        finally:
            self.running.remove(key)

    def run_task(self, key: str, request: dict[str, Any], gpu: bool) -> dict[str, Any]:
        worker = get_worker()
        where = f"{socket.gethostname()} {worker.name}"
        worker.log_event(self.name, {"stage": request["address"], "where": where})
        clone = self.clone()
        folder = clone / ".dvc/tmp/parallel"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        progress = folder / "progress.json"  # which not every module writes
        progress.unlink(missing_ok=True)
        with open(folder / "log", "w+b") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", request["module"], str(folder / "request.json")],
                cwd=clone,
                env=self.variables(gpu),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            read, told = 0, ""
            try:
                while True:
                    try:
                        status = process.wait(BEAT)
                    except subprocess.TimeoutExpired:
                        status = None
                    text = os.pread(log.fileno(), 1 << 20, read)
                    if text:
                        read += len(text)
                        worker.log_event(
                            self.name,
                            {"stage": request["address"], "text": text.decode(errors="replace")},
                        )
                    rows = progress.read_text(encoding="utf-8") if progress.exists() else ""
                    if rows and rows != told:
                        told = rows
                        worker.log_event(self.name, {"stage": request["address"], "progress": rows})
                    if not text and status is not None:
                        break
                    task = worker.state.tasks.get(key)
                    if self.ended or task is None or task.state == "cancelled":
                        raise RuntimeError("nobody waits for this result any more")
            finally:
                end(process)
        if status:
            return {"status": status}
        return {"status": 0} | json.loads((folder / "result.json").read_text(encoding="utf-8"))

    def variables(self, gpu: bool) -> dict[str, str]:
        """The environment of a stage; one that asks for no GPU sees none."""
        given = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONSAFEPATH": None,  # would lead past the clone, to the code that is installed
            "PYTHONUNBUFFERED": "1",
        }
        given |= self.environment
        if not gpu:
            given["CUDA_VISIBLE_DEVICES"] = "-1"
        return {name: value for name, value in given.items() if value is not None}


def end(process: subprocess.Popen) -> None:
    """End a process, and all that it started: one that was killed leaves its stage behind."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def git(folder: Path, *arguments: str) -> None:
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"git {arguments[0]} failed: {result.stderr.strip()}")


def run(name: str, request: dict[str, Any], gpu: bool) -> dict[str, Any]:
    """The Dask task: one stage instance, in the clones of the run `name`."""
    return get_worker().plugins[name].run(request, gpu)
