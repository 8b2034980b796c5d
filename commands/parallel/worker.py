"""The work of a Dask worker: keep clones of the project, one per thread, and run one stage instance
at a time in each.

Sent to the workers by value: they need the project's requirements and git, but no copy of the
project.
"""

import asyncio
import codecs
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
from typing import IO, Any

from distributed import Worker, WorkerPlugin, get_worker

INTERVAL = 0.2  # seconds between two looks at a running stage
GRACE = 5.0  # seconds that a stage has to end


@dataclass(eq=False)
class Clones(WorkerPlugin):
    """The project as it was when the run began, on one worker. In the clones, HEAD is the commit
    `head`, and what `snapshot` changes is uncommitted, as in the user's working tree."""

    name: str  # of this run, and of the topic of its events
    bundle: bytes  # a git bundle with the commit `snapshot`
    head: str
    snapshot: str
    config: str  # the content of DVC's configuration file in the clones
    mark: str | None  # with a shared cache folder: a file in it that the worker must see
    environment: dict[str, str | None]  # of the stages, in place of the worker's own
    running: set[str] = field(default_factory=set)  # keys of tasks
    ended: bool = False

    def setup(self, worker: Worker) -> None:
        self.folder = Path(worker.local_directory) / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "bundle").write_bytes(self.bundle)

    async def teardown(self, worker: Worker) -> None:
        """Stop running tasks, and remove the clones."""
        self.ended = True
        while self.running:
            await asyncio.sleep(INTERVAL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def open_clone(self) -> Path:
        """The clone of this thread, made on first use. Raises RuntimeError if the worker does not
        see a shared cache folder."""
        clone = self.folder / f"clone-{threading.get_ident()}"
        if not (clone / ".dvc/config.local").exists():
            if self.mark and not Path(self.mark).exists():
                cache = Path(self.mark).parent
                raise RuntimeError(
                    f"{socket.gethostname()} does not see the cache folder {cache} of the machine "
                    "that started the run"
                )
            shutil.rmtree(clone, ignore_errors=True)
            # none of the user's hooks, of a template or of core.hooksPath, is to run on checkout
            git(self.folder, "init", "--quiet", "--template=", str(clone))
            git(clone, "config", "core.hooksPath", os.devnull)
            git(clone, "fetch", "--quiet", str(self.folder / "bundle"), "refs/*:refs/*")
            git(clone, "checkout", "--quiet", "--detach", self.snapshot)
            git(clone, "reset", "--quiet", "--mixed", self.head)
            (clone / ".dvc/config.local").write_text(self.config, encoding="utf-8")
        return clone

    def run(self, request: dict[str, Any], gpu: bool) -> dict[str, Any]:
        """Run the `module` of a request. Returns its exit `status` and, after success, the content
        of its result.json. Its output is sent as events."""
        key = get_worker().get_current_task()
        self.running.add(key)
        try:
            return self.run_task(key, request, gpu)
        finally:
            self.running.remove(key)

    def run_task(self, key: str, request: dict[str, Any], gpu: bool) -> dict[str, Any]:
        self.tell(request, where=f"{socket.gethostname()} {get_worker().name}")
        clone = self.open_clone()
        folder = clone / ".dvc/tmp/parallel"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        progress = folder / "progress.json"  # not every module writes it
        progress.unlink(missing_ok=True)
        with open(folder / "log", "w+b") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", request["module"], str(folder / "request.json")],
                cwd=clone,
                env=self.build_environment(gpu),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                self.follow(process, key, request, log, progress)
            finally:
                end(process)
        if process.returncode:
            return {"status": process.returncode}
        return {"status": 0} | json.loads((folder / "result.json").read_text(encoding="utf-8"))

    def follow(
        self, process: subprocess.Popen, key: str, request: dict[str, Any], log: IO, progress: Path
    ) -> None:
        """Wait for `process`, and send as events what it writes into the files `log` and
        `progress`. Raises RuntimeError once the result of the task `key` is no longer wanted."""
        read, last_rows, done = 0, "", False
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while not done:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(INTERVAL)
            content = os.pread(log.fileno(), 1 << 20, read)
            read += len(content)
            done = process.returncode is not None and not content
            if text := decoder.decode(content, done):  # a letter may be only half there
                self.tell(request, text=text)
            rows = progress.read_text(encoding="utf-8") if progress.exists() else ""
            if rows and rows != last_rows:
                last_rows = rows
                self.tell(request, progress=rows)
            task = get_worker().state.tasks.get(key)
            if not done and (self.ended or task is None or task.state == "cancelled"):
                raise RuntimeError("this result is no longer wanted")

    def tell(self, request: dict[str, Any], **content: str) -> None:
        """Send an event of a request to the process that started the run."""
        get_worker().log_event(self.name, {"stage": request["address"]} | content)

    def build_environment(self, gpu: bool) -> dict[str, str]:
        """The environment variables of a stage; without `gpu` it sees no GPU."""
        variables = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONSAFEPATH": None,  # would import the installed code instead of the clone's
            "PYTHONUNBUFFERED": "1",
        }
        variables |= self.environment
        if not gpu:
            variables["CUDA_VISIBLE_DEVICES"] = "-1"
        return {name: value for name, value in variables.items() if value is not None}


def end(process: subprocess.Popen) -> None:
    """End a process and its children: killing it alone would leave its stage running."""
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
    """The Dask task: run one stage instance in a clone of the run `name`."""
    return get_worker().plugins[name].run(request, gpu)
