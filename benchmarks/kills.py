#!/usr/bin/env python3
"""Random kills of `dvc repro`, and whether the next one ends with the bits of an undisturbed run.

usage: python benchmarks/kills.py [--rounds N] [--seed S] [--folder FOLDER]

The project is the small one of the tests, with the real stages and the real DVC. In each round it
forgets a stage drawn at random, or everything: its outputs, its entry in dvc.lock, what DVC's cache
knows of its runs. `dvc repro` starts; at a random moment, as soon as a file is being written, or as
soon as a training has left a checkpoint, kill -9 hits DVC, the stage, or both; and `dvc repro` runs
again at once. It must end well, with equal lock files and an equal SHA-256 of each output. A FOLDER
is kept, and taken up by the next call. Writes benchmarks/results/kills.json and kills.md. A round
takes about 20 seconds on two cores.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml
from machine import PROJECT, described, in_words, write

sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]
from conftest import Project, small_project  # noqa: E402

LOCKS = ("dvc.lock", "data/dvc.lock")
EVERYTHING = "everything"
COUNTED = ("left_partial_file", "rwlock_deleted", "went_on_behind_an_epoch", "equal")
Moment = Callable[
    [Project, subprocess.Popen, float], bool
]  # whether to kill now, by DVC's process and the seconds since its start


def longer(params) -> None:
    """Epochs enough for a training to be hit between two of them."""
    params["train"]["epochs"] = 20
    params["train"]["early_stopping"]["patience"] = 19


def state(project: Project) -> dict[str, str]:
    """The lock files that are there, and the SHA-256 of each file of the outputs that they list."""
    found = {}
    for name in LOCKS:
        if not project.path(name).exists():
            continue
        lock = yaml.safe_load(project.path(name).read_text())
        found[name] = json.dumps(lock, sort_keys=True)
        for out in (
            project.path(out["path"]) for stage in lock["stages"].values() for out in stage["outs"]
        ):
            for path in [out, *out.rglob("*")]:
                if path.is_file():
                    found[str(path.relative_to(project.folder))] = hashlib.sha256(
                        path.read_bytes()
                    ).hexdigest()
    return found


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def entries(project: Project) -> dict[str, tuple[str, str]]:
    """The stages that ran: by their name, the lock file and the key in it."""
    return {
        key: (name, key)
        for name in LOCKS
        for key in yaml.safe_load(project.path(name).read_text())["stages"]
    }


def forget(project: Project, what: str) -> None:
    """As if the stage had never run."""
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
    """Whether a training has done an epoch, and not all."""
    return any(project.folder.glob("models/*/checkpoint.npz"))


def stages_of(dvc: subprocess.Popen) -> list[psutil.Process]:
    """The processes of stages below DVC's."""
    try:
        return [
            one
            for one in psutil.Process(dvc.pid).children(recursive=True)
            if "stages." in " ".join(command_of(one))
        ]
    except psutil.Error:
        return []


def running(project: Project, dvc: subprocess.Popen, *_: object) -> bool:
    """Whether a stage runs."""
    return bool(stages_of(dvc))


def after(seconds: float) -> Moment:
    return lambda project, dvc, passed: passed > seconds


def kill(dvc: subprocess.Popen, target: str) -> str | None:
    """Send SIGKILL to the `target`: dvc, stage or both; where no stage is alive, to DVC. Returns
    what was hit, None where DVC was done before."""
    stages = stages_of(dvc) if target != "dvc" else []
    for process in [*([dvc] if target != "stage" or not stages else []), *stages]:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    if dvc.wait() == 0:
        return None
    return target if stages else "dvc"


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def again(project: Project) -> tuple[int, str]:
    """Exit status and output of an undisturbed `dvc repro`."""
    status = start(project).wait()
    return status, project.path(".git/log").read_text()


def one_round(project: Project, what: str, target: str, due: Moment) -> dict:
    """Forget, run, kill as soon as it is `due`, run again. `killed` is what was hit, None where DVC
    was done before; `rwlock_deleted`, whether a file of DVC's own had to be deleted before."""
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
    if (
        half_written
    ):  # DVC was killed while it wrote this file of its own; the README says what to do
        project.path(".dvc/tmp/rwlock").unlink()
        status, log = again(project)
    return {
        "forgotten": what,
        "killed": killed,
        "after_seconds": round(at, 2),
        "left_partial_file": partial,
        "rwlock_deleted": half_written,
        "went_on_behind_an_epoch": "going on behind epoch" in log,
        "status": status,
        "log": log,
    }


def table(content: dict) -> str:
    rounds = content["rounds"]
    equal = sum(one["equal"] for one in rounds)
    lines = [
        f"{equal} of {len(rounds)} kills were followed by a `dvc repro` that ended with the bits "
        "of an "
        f"undisturbed run; of these {sum(one['rwlock_deleted'] for one in rounds)} as soon as "
        "`.dvc/tmp/rwlock`, which DVC "
        f"had left half-written, was deleted. {in_words(content['machine'])}.",
        "",
        "| forgotten before | kills | of DVC | of the stage | of both | file half written | DVC's "
        "rwlock deleted "
        "| went on behind an epoch | equal bits |",
        "|---|" + "--:|" * 8,
    ]
    for what in sorted({one["forgotten"] for one in rounds}):
        some = [one for one in rounds if one["forgotten"] == what]
        target = Counter(one["killed"] for one in some)
        counts = [len(some), target["dvc"], target["stage"], target["both"]]
        counts += [sum(one[key] for one in some) for key in COUNTED]
        lines.append(f"| {what} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        progress = folder / "progress.json"
        project = Project(folder / "project")
        if not progress.exists():
            small_project(project.folder)
            project.edit_params(longer)
            project.dvc("repro")
            content = {
                "machine": described("dvc", "keras", "tensorflow"),
                "rounds": [],
                "expected": state(project),
                "seconds": {},
            }
        else:
            content = json.loads(progress.read_text())
        chance, done = random.Random(arguments.seed), 0
        while done < arguments.rounds:
            what, seconds = chance.choice([*entries(project), EVERYTHING]), content["seconds"]
            delay = chance.uniform(0.5, seconds.get(what, 30 if what == EVERYTHING else 8))
            moments = {
                after(delay): 2,
                writing: 1,
                checkpointed: 3 if what.startswith("train@") else 0,
            }  # with their weights
            (due,) = chance.choices(list(moments), list(moments.values()))
            result = one_round(project, what, chance.choice(["dvc", "stage", "both"]), due)
            if not result["killed"]:  # drawn too late
                seconds[what] = min(result["after_seconds"], seconds.get(what, math.inf))
            found = state(project)
            log, result["equal"] = (
                result.pop("log"),
                result["status"] == 0 and found == content["expected"],
            )
            if not result["equal"]:
                sys.exit(f"not recovered: {result}\n{differing(found, content['expected'])}\n{log}")
            if result["killed"]:
                done += 1
                content["rounds"].append(result)
                progress.write_text(json.dumps(content))
                print(done, result, flush=True)
    del content["expected"], content["seconds"]
    write("kills", content, table(content))


if __name__ == "__main__":
    main()
