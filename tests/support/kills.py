"""Kill `dvc repro`, a stage of it, or both, and run it again."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import yaml

from support.processes import command_of
from support.project import Project

LOCKS = ("dvc.lock", "data/dvc.lock")
EVERYTHING = "everything"
# whether to kill now, given DVC's process and the seconds since its start
Moment = Callable[[Project, subprocess.Popen, float], bool]


def state(project: Project) -> dict[str, str]:
    """The existing lock files, and the SHA-256 of each file of the outputs that they list."""
    contents = {}
    for name in LOCKS:
        if not project.path(name).exists():
            continue
        lock = yaml.safe_load(project.path(name).read_text())
        contents[name] = json.dumps(lock, sort_keys=True)
        for out in (
            project.path(out["path"]) for stage in lock["stages"].values() for out in stage["outs"]
        ):
            for path in [out, *out.rglob("*")]:
                if path.is_file():
                    contents[str(path.relative_to(project.folder))] = hashlib.sha256(
                        path.read_bytes()
                    ).hexdigest()
    return contents


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def entries(project: Project) -> dict[str, tuple[str, str]]:
    """The recorded stages: for each name, its lock file and its key there."""
    return {
        key: (name, key)
        for name in LOCKS
        for key in yaml.safe_load(project.path(name).read_text())["stages"]
    }


def forget(project: Project, what: str) -> None:
    """Make it as if the stage had never run."""
    shutil.rmtree(project.path(".dvc/cache/runs"), ignore_errors=True)
    if what == EVERYTHING:
        shutil.rmtree(project.path(".dvc/cache"))
    for name, key in entries(project).values():
        if what not in (key, EVERYTHING):
            continue
        lock = yaml.safe_load(project.path(name).read_text())
        for out in lock["stages"].pop(key)["outs"]:
            path = project.path(out["path"])
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            digest = out["md5"]
            project.path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}").unlink(missing_ok=True)
        if lock["stages"]:
            project.path(name).write_text(yaml.safe_dump(lock, sort_keys=False))
        else:
            project.path(name).unlink()


def writing(project: Project, *_: object) -> bool:
    """Whether a stage is writing a file or a folder."""
    for _, folders, files in os.walk(project.folder):
        if any(name.endswith(".partial") for name in folders + files):
            return True
        folders[:] = [name for name in folders if name not in (".git", ".dvc", "stages")]
    return False


def start(project: Project) -> subprocess.Popen:
    command = [sys.executable, "-m", "dvc", "repro"]
    log = open(project.path(".git/log"), "w")  # noqa: SIM115
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def checkpointed(project: Project, *_: object) -> bool:
    """Whether a training has finished an epoch, but not all."""
    return any(project.folder.glob("models/*/checkpoint.npz"))


def stages_of(dvc: subprocess.Popen) -> list[psutil.Process]:
    """The processes of stages below DVC's."""
    try:
        return [
            process
            for process in psutil.Process(dvc.pid).children(recursive=True)
            if "stages." in " ".join(command_of(process))
        ]
    except psutil.Error:
        return []


def running(project: Project, dvc: subprocess.Popen, *_: object) -> bool:
    """Whether a stage runs."""
    return bool(stages_of(dvc))


def after(seconds: float) -> Moment:
    return lambda project, dvc, passed: passed > seconds


def kill(dvc: subprocess.Popen, target: str) -> str | None:
    """Send SIGKILL to `target`: dvc, stage or both, or to DVC if no stage is alive. Returns what
    was killed, or None if DVC had finished before."""
    stages = stages_of(dvc) if target != "dvc" else []
    for process in [*([dvc] if target != "stage" or not stages else []), *stages]:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    if dvc.wait() == 0:
        return None
    return target if stages else "dvc"


def again(project: Project) -> tuple[int, str]:
    """Exit status and output of an undisturbed `dvc repro`."""
    status = start(project).wait()
    return status, project.path(".git/log").read_text()


def one_round(project: Project, what: str, target: str, due: Moment) -> dict:
    """Forget, run, kill as soon as it is `due`, run again. `killed` is what was killed, None if
    DVC had finished; `rwlock_deleted`, whether a file of DVC's own had to be deleted first."""
    forget(project, what)
    begin = time.perf_counter()
    dvc = start(project)
    while dvc.poll() is None and not due(project, dvc, time.perf_counter() - begin):
        time.sleep(0.002)
    at = time.perf_counter() - begin
    killed = kill(dvc, target) if dvc.poll() is None else None
    partial = writing(project)
    status, log = again(project)
    half_written = status != 0 and "RWLock-file" in log
    # DVC was killed while it wrote this file of its own; the README says what to do
    if half_written:
        project.path(".dvc/tmp/rwlock").unlink()
        status, log = again(project)
    return {
        "forgotten": what,
        "killed": killed,
        "after_seconds": round(at, 2),
        "left_partial_file": partial,
        "rwlock_deleted": half_written,
        "went_on_behind_an_epoch": "resuming after epoch" in log,
        "status": status,
        "log": log,
    }
