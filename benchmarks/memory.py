#!/usr/bin/env python3
"""Training on more images than the allowed memory holds: 4 GB of prepared images in a control group
of 1.5 GiB, and without limit.

usage: python benchmarks/memory.py [--folder FOLDER] [--gigabytes G] [--limit GIB] [CASE ...]
(as root, for the control group)

Runs `stages.training.fitting.train_network` for an epoch over all images: with the arrays in
memory; by memory map, as the stage does, without limit; and by memory map in a control group with
that limit, which includes the page cache, with nothing of the file in memory at first. Each runs in
a process of its own. Memory is the peak of RssAnon in /proc/PID/status, sampled: without mapped
files. Writes benchmarks/results/memory.json and memory.md. Needs 4 GB on disk, 6 GB of memory, and
takes about 8 minutes on two cores.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import PROJECT, RESULTS, described, in_words, write, write_prepared

# shape of the images, filters of the convolutions, each after the first with a stride of 2
CASES = {
    "photographs, 150×150×3": ((150, 150, 3), (16, 32, 32)),
    "small images, 32×32×3": ((32, 32, 3), (16, 32)),
}
CLASSES = 10
MODES = {
    "memory": "arrays in memory",
    "map": "memory map, no limit",
    "limit": "memory map, limited",
}


def train(mode: str, folder: Path, filters: list[int]) -> None:
    """The worker: an epoch of the training stage; prints its seconds."""
    from stages.training import backend

    backend.start(2)
    import keras
    import numpy as np

    from stages import params
    from stages.params.families import Sequential
    from stages.params.recipe import Train
    from stages.params.schema import Augment
    from stages.storage import prepared as data
    from stages.training import fitting, heads
    from stages.training.experiment import Experiment
    from stages.training.network import build_network

    if mode == "memory":
        data.Prepared.images = lambda self, part: np.load(self.folder / f"{part}.npy")
    original, times = heads.MultiHeadModel.fit, []

    def timed(self, *arguments, callbacks, **options):
        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: times.append(time.perf_counter()),
            on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()),
        )
        return original(self, *arguments, callbacks=[clock, *callbacks], **options)

    heads.MultiHeadModel.fit = timed
    layers = [
        {"Conv2D": {"filters": width, "kernel_size": 3, "strides": 2, "activation": "relu"}}
        for width in filters
    ]
    architecture = Sequential(family="sequential", layers=[*layers, {"GlobalAveragePooling2D": {}}])
    root = params.load()
    early_stopping = {"monitor": "val_accuracy", "patience": None, "restore_best": "never"}
    recipe = Train.model_validate(
        root.train.model_dump() | {"epochs": 1, "early_stopping": early_stopping}
    )
    experiment = Experiment(
        "tiny", 1, architecture, Augment.model_validate(root.augment.model_dump()), recipe
    )
    with tempfile.TemporaryDirectory() as temporary:
        prepared, checkpoint = data.Prepared(folder), Path(temporary) / "checkpoint.npz"
        network = build_network(experiment, prepared)
        fitting.train_network(experiment, network, prepared, Path(temporary), checkpoint)
    # the first report comes after 20 steps, in which the graph was built
    print(
        json.dumps(
            {
                "seconds": times[-1] - times[1],
                "steps": 20 * (len(times) - 2),
                "batch": recipe.batch_size,
            }
        )
    )


class Group:
    """A control group for memory, of version 1 or 2; `limit` bytes."""

    def __init__(self, limit: int):
        one = Path("/sys/fs/cgroup/memory")
        root, file = (
            (one, "memory.limit_in_bytes")
            if one.is_dir()
            else (Path("/sys/fs/cgroup"), "memory.max")
        )
        self.folder = root / f"benchmark-{os.getpid()}"
        try:
            self.folder.mkdir()
            (self.folder / file).write_text(str(limit))
        except OSError as error:
            sys.exit(f"{error}: a control group is needed, and the right to make one")

    def join(self) -> None:
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        self.folder.rmdir()


def forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(mode: str, folder: Path, filters: tuple[int, ...], limit: int) -> dict:
    group = Group(limit) if mode == "limit" else None
    if group:
        forget(folder)
    command = [
        sys.executable,
        __file__,
        "--worker",
        mode,
        "--folder",
        str(folder),
        *map(str, filters),
    ]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    try:
        with subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=group.join if group else None,
        ) as process:
            status, reads, peak = (
                Path(f"/proc/{process.pid}/status"),
                Path(f"/proc/{process.pid}/io"),
                0,
            )
            while process.poll() is None:
                lines = status.read_text().splitlines()
                peak = max(
                    [peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))]
                )
                try:
                    read = int(
                        dict(line.split(": ") for line in reads.read_text().splitlines())[
                            "read_bytes"
                        ]
                    )
                except (OSError, KeyError):
                    pass
                time.sleep(0.05)
            output = process.stdout.read()
    finally:
        if group:
            group.remove()
    if process.returncode:
        return {"completed": False, "status": process.returncode, "rss_anon_mib": peak // 1024}
    timed = json.loads(output.splitlines()[-1])
    rate = timed["steps"] * timed["batch"] / timed["seconds"]
    return {
        "completed": True,
        "images_a_second": round(rate, 1),
        "rss_anon_mib": peak // 1024,
        "read_gb": round(read / 1e9, 2),
    }


def table(content: dict) -> str:
    lines = [
        f"An epoch over {content['gigabytes']:g} GB of images, in random order; the limit is "
        f"{content['limit_gib']:g} GiB, page "
        f"cache included. {in_words(content['machine'])}.",
        "",
        "| images | way | images a second | of that in memory | peak of anonymous memory, MiB | "
        "read from disk, GB |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for case, ways in content["cases"].items():
        for mode, name in MODES.items():
            if mode in ways and ways[mode]["completed"]:
                one, base = ways[mode], ways["memory"].get("images_a_second")
                rate = one["images_a_second"]
                share = f"{rate / base:.2f}" if base else "–"
                lines.append(
                    f"| {case} | {name} | {rate:,.0f} | {share} | {one['rss_anon_mib']:,} | "
                    f"{one['read_gb']:.1f} |"
                )
            elif mode in ways:
                lines.append(
                    f"| {case} | {name} | ended with status {ways[mode]['status']} | | | |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, help="where the images are made; default: a temporary folder"
    )
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--limit", type=float, default=1.5, metavar="GIB")
    parser.add_argument("--worker", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    if arguments.worker:
        return train(arguments.worker, arguments.folder, [int(width) for width in arguments.cases])
    file = RESULTS / "memory.json"
    content = json.loads(file.read_text()) if file.exists() else {"cases": {}}
    content |= {
        "machine": described("keras", "tensorflow", "numpy"),
        "gigabytes": arguments.gigabytes,
        "limit_gib": arguments.limit,
    }
    for case in arguments.cases or CASES:
        shape, filters = CASES[case]
        folder = (arguments.folder or Path(tempfile.mkdtemp())) / "prepared"
        count = (
            int(arguments.gigabytes * 1e9 / (shape[0] * shape[1] * shape[2])) // 1280 * 1280 + 1280
        )
        write_prepared(folder, shape, CLASSES, train=count, validation=500)
        content["cases"][case] = {}
        for mode in MODES:
            content["cases"][case][mode] = measured(
                mode, folder, filters, int(arguments.limit * 2**30)
            )
            print(case, mode, content["cases"][case][mode], flush=True)
        shutil.rmtree(folder)
    write("memory", content, table(content))


if __name__ == "__main__":
    main()
