#!/usr/bin/env python3
"""How time and memory of each stage grow with the number of images, small ones in a zip, in the
whole pipeline.

usage: python benchmarks/scale.py [COUNT ...]        (default: 1000 10000 100000)

Each run has a copy of params.yaml in a temporary folder and runs the unchanged stages one by one,
without DVC; the network is the smallest of the documents', for one epoch. Memory is the peak
of anonymous memory (RssAnon in /proc/PID/status, sampled); mapped files do not count, since they
can be dropped. A line is fitted to each stage's time and memory, and extended to a million images.
Writes benchmarks/results/scale.json and scale.md. Takes about two minutes on two cores.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from machine import PROJECT, described, in_words, write
from PIL import Image
from ruamel.yaml import YAML

SIDE, CLASSES = 32, 5
MODEL = "cifar10-experiment1"
STAGES = {
    "download": ["many"],
    "split": [],
    "preprocess": [],
    "describe": [],
    "train": [MODEL],
    "evaluate": [MODEL],
    "compare": [],
    "report": [],
    "export": [],
}
TO = 1_000_000


def make_zip(path: Path, count: int) -> None:
    """Different JPEGs of 32×32 pixels in five classes; every sixth image is for testing."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            file = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(file, "JPEG")
            archive.writestr(
                f"{'train' if number % 6 else 'test'}/class{number % CLASSES}/{number:07d}.jpg",
                file.getvalue(),
            )


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; returns its seconds and its peak of anonymous memory in MB."""
    begin, peak = time.perf_counter(), 0
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            lines = status.read_text().splitlines()
            peak = max(
                [peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))]
            )
            time.sleep(0.01)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - begin, peak / 1024


def drawn_out(counts: list[int], values: list[float]) -> float:
    """The value of a straight line through the points at `TO` images, fitted by relative error."""
    slope, constant = np.polyfit(counts, values, 1, w=1 / np.maximum(values, 1e-3))
    return slope * TO + constant


def table(content: dict) -> str:
    counts = content["counts"]
    heads = [f"{count:,}" for count in counts] + [f"{TO:,}, by the line"]
    lines = [
        "Seconds (MB of anonymous memory at the peak) by the number of images, 32×32×3; n = 1. "
        f"{in_words(content['machine'])}.",
        "",
        f"| stage | {' | '.join(heads)} |",
        "|---|" + "--:|" * len(heads),
    ]
    for stage, runs in content["stages"].items():
        seconds, peaks = zip(*runs)
        cells = [f"{one:.1f} ({peak:.0f})" for one, peak in runs]
        cells.append(f"{drawn_out(counts, seconds):,.0f} ({drawn_out(counts, peaks):,.0f})")
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    content = {
        "machine": described("keras", "tensorflow", "numpy"),
        "counts": [],
        "stages": {stage: [] for stage in STAGES},
    }
    for count in map(int, sys.argv[1:] or (1_000, 10_000, 100_000)):
        content["counts"].append(count)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make_zip(folder / "many.zip", count)
            yaml = YAML()
            params = yaml.load((PROJECT / "params.yaml").read_text())
            params["datasets"] = {"many": {"source": "many.zip"}}
            params["dataset"], params["models"] = "many", [MODEL]
            params["train"]["epochs"] = 1
            with open(folder / "params.yaml", "w") as file:
                yaml.dump(params, file)
            for stage, arguments in STAGES.items():
                seconds, peak = measured(
                    [sys.executable, "-m", f"stages.{stage}", *arguments], folder
                )
                content["stages"][stage].append((round(seconds, 2), round(peak)))
                print(f"{count:,} images, {stage}: {seconds:.1f} s, {peak:.0f} MB", flush=True)
    write("scale", content, table(content))


if __name__ == "__main__":
    main()
