#!/usr/bin/env python3
"""`predict` with the selected model, by ONNX Runtime and by Keras: time to the first answer, time
and memory for 1,000 photographs, and whether both give the same classes.

usage: python benchmarks/predict.py [--before REVISION] [--photographs N] [--repeats N]
                             (needs exports/, models/ and data/prepared/, which `dvc repro` makes)

    ONNX Runtime    `predict`
    Keras           `predict --model NAME`: the Keras file of the same model
    before          the same in the code of REVISION: the last before ONNX Runtime is 1660af6~1

They take turns, each time in a process of its own, with made-up photographs of 500 pixels. Memory
is the peak of the process. The classes are compared on the photographs and on all
test images. Writes benchmarks/results/predict.json and predict.md. Takes 8 minutes on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import PROJECT, described, in_words, photograph, write
from PIL import Image

SIDE = 500  # pixels
Way = tuple[list[str], Path]  # a command, and the folder in which it runs


def check_out(revision: str, folder: Path) -> Path:
    """The project's files at `revision`, in a new folder."""
    archive = subprocess.run(
        ["git", "archive", revision], cwd=PROJECT, check=True, stdout=subprocess.PIPE
    )
    folder.mkdir()
    subprocess.run(["tar", "--extract"], cwd=folder, check=True, input=archive.stdout)
    return folder


def run(way: Way, *paths: Path) -> tuple[dict[str, float], list[str]]:
    """The time and memory it takes to classify `paths`, and the resulting classes."""
    command, folder = way
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--format", "json", *map(str, paths)],
            cwd=folder,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
        output.seek(0)
        rows = json.load(output)
    measured = {
        "seconds": seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "memory_mb": used.ru_maxrss * 1024 / 1e6,
    }
    return measured, [row["class"] for row in rows]


def write_images(folder: Path, photographs: int, test: np.ndarray) -> dict[str, Path]:
    """Folders with photographs, and with the `test` images as PNG."""
    folders = {name: folder / name for name in ("photographs", "test")}
    for folder in folders.values():
        folder.mkdir()
    for number in range(photographs):
        content = photograph(SIDE, seed=number)
        (folders["photographs"] / f"{number:06}.jpg").write_bytes(content)
    for number, image in enumerate(test):
        shape = image.shape[:2] if image.shape[2] == 1 else image.shape
        Image.fromarray(image.reshape(shape)).save(folders["test"] / f"{number:06}.png")
    return folders


def measure(ways: dict[str, Way], folders: dict[str, Path], repeats: int) -> dict[str, Any]:
    """All values of each way, and how many classes differ from the first way's."""
    first_image = min(folders["photographs"].iterdir())
    found: dict[str, Any] = {name: {"first": [], "photographs": []} for name in ways}
    classes: dict[str, dict[str, list[str]]] = {name: {} for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            found[name]["first"].append(run(way, first_image)[0])
            measured, classes[name]["photographs"] = run(way, folders["photographs"])
            found[name]["photographs"].append(measured)
    for name, way in ways.items():
        _, classes[name]["test"] = run(way, folders["test"])
    expected = next(iter(classes.values()))
    for name, one in classes.items():
        found[name]["other_classes"] = {
            kind: sum(a != b for a, b in zip(given, expected[kind], strict=True))
            for kind, given in one.items()
        }
    return found


def table(content: dict[str, Any]) -> str:
    repeats, count = content["repeats"], content["photographs"]
    lines = [
        f"`predict` with {content['model']}: one photograph of {SIDE} pixels, and {count:,} of "
        f"them; medians of {repeats}. {in_words(content['machine'])}.",
        "",
        f"| way | first answer, s | its memory, MB | {count:,} photographs, s | processor, s "
        "| memory, MB | other classes: photographs | test images |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in content["ways"].items():

        def middle(kind: str, key: str, one: dict[str, Any] = one) -> float:
            return median(measured[key] for measured in one[kind])

        other = one["other_classes"]
        lines.append(
            f"| {name} | {middle('first', 'seconds'):.2f} | {middle('first', 'memory_mb'):.0f} "
            f"| {middle('photographs', 'seconds'):.2f} "
            f"| {middle('photographs', 'processor_seconds'):.2f} "
            f"| {middle('photographs', 'memory_mb'):.0f} "
            f"| {other['photographs']} of {count:,} | {other['test']} of {content['test']:,} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", metavar="REVISION", help="of the code of before")
    parser.add_argument("--photographs", type=int, default=1000, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    options = parser.parse_args()
    model = json.loads((PROJECT / "reports/selection.json").read_text())["selected"]
    test = np.load(PROJECT / "data/prepared/test.npy")
    command = [sys.executable, "-m", "commands.predict"]
    keras = [*command, "--model", str(PROJECT / "models" / model)]
    with tempfile.TemporaryDirectory() as temporary:
        ways: dict[str, Way] = {"ONNX Runtime": (command, PROJECT), "Keras": (keras, PROJECT)}
        if options.before:
            folder = check_out(options.before, Path(temporary) / "before")
            ways[f"before, {options.before}"] = (keras, folder)
        folders = write_images(Path(temporary), options.photographs, test)
        measured = measure(ways, folders, options.repeats)
    content = {
        "machine": described("onnxruntime", "keras", "tensorflow", "PIL"),
        "model": model,
        "photographs": options.photographs,
        "test": len(test),
        "repeats": options.repeats,
        "ways": measured,
    }
    write("predict", content, table(content))


if __name__ == "__main__":
    main()
