#!/usr/bin/env python3
"""How time and memory of the data stages grow with the number of images: small ones in a zip, through download, split, preprocess.

usage: python benchmarks/many_files.py [COUNT ...]        (default: 10000 100000)

Each run is a copy of params.yaml in a temporary folder, the stages as they are. Memory is the peak of anonymous memory (RssAnon in
/proc/self/status, sampled every 10 ms): mapped files do not count, they can be dropped. Takes about a minute on two cores.
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
from PIL import Image
from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[1]
SIDE, CLASSES = 32, 5
STAGES = {"download": ["stages.download", "many"], "split": ["stages.split"], "preprocess": ["stages.preprocess"]}


def make_zip(path: Path, count: int) -> None:
    """JPEGs of 32×32 pixels, each image another, in five classes; every sixth image is for testing."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            file = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(file, "JPEG")
            archive.writestr(f"{'train' if number % 6 else 'test'}/class{number % CLASSES}/{number:07d}.jpg", file.getvalue())


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; returns its seconds and its peak of anonymous memory in MB."""
    begin, peak = time.perf_counter(), 0
    with subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(PROJECT)}, stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            lines = status.read_text().splitlines()
            peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))])
            time.sleep(0.01)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - begin, peak / 1024


def main() -> None:
    print(f"{'images':>8}  {'stage':<10}  {'seconds':>7}  {'ms an image':>11}  {'peak MB':>7}")
    for count in map(int, sys.argv[1:] or (10_000, 100_000)):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make_zip(folder / "many.zip", count)
            yaml = YAML()
            params = yaml.load((PROJECT / "params.yaml").read_text())
            params["datasets"] = {"many": {"source": "many.zip"}}
            params["dataset"] = "many"
            with open(folder / "params.yaml", "w") as file:
                yaml.dump(params, file)
            for stage, module in STAGES.items():
                seconds, peak = measured([sys.executable, "-m", *module], folder)
                print(f"{count:>8,}  {stage:<10}  {seconds:>7.1f}  {1000 * seconds / count:>11.3f}  {peak:>7.0f}")


if __name__ == "__main__":
    main()
