"""The machine that a measurement was made on, and what else the benchmarks share."""

import io
import json
import math
import os
import platform
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]
from support.project import data_json  # noqa: E402

from stages.runtime import processor  # noqa: E402

RESULTS = PROJECT / "benchmarks/results"


def described(*packages: str) -> dict[str, Any]:
    """The processor, its cores, the memory, the system, and the versions of Python and of
    `packages`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    installed = packages_distributions()  # tensorflow may have come as tensorflow_cpu
    return {
        "processor": f"{os.cpu_count()} × {processor.read_name()}",
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(installed[name][0]) for name in packages},
        },
    }


def in_words(described: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in described["versions"].items())
    memory, system = f"{described['memory_gib']:g} GiB", described["system"]
    return f"{described['processor']}, {memory}, {system}; {versions}"


def write(name: str, content: dict[str, Any], table: str) -> None:
    """Write a benchmark's single values as results/NAME.json, and its `table`, which is printed
    too, as NAME.md."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (RESULTS / f"{name}.md").write_text(table, encoding="utf-8")
    print(table)


def photograph(side: int, seed: int) -> bytes:
    """A JPEG file of `side` × `side` pixels that takes as long to decode as a photograph: noise
    whose amplitude falls with its frequency, and sensor noise."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((2, 3, side, side), np.float32)
    frequency = np.hypot(np.fft.fftfreq(side)[:, np.newaxis], np.fft.rfftfreq(side))
    pixels = np.fft.irfft2(np.fft.rfft2(noise[0]) / np.maximum(frequency, 1 / side) ** 1.4)
    pixels = 128 + 50 * pixels / pixels.std() + 5 * noise[1]
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy())
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def write_prepared(folder: Path, shape: tuple[int, ...], classes: int, **counts: int) -> None:
    """Random images in the layout of ``data/prepared/``, `counts` by part, with at most a thousand
    in memory at a time."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in counts.items():
        with open(folder / f"{part}.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
            )
            for start in range(0, count, 1000):
                file.write(random.bytes(min(1000, count - start) * math.prod(shape)))
        np.save(folder / f"{part}_labels.npy", random.integers(0, classes, count))
    (folder / "data.json").write_text(json.dumps(data_json(list(shape), classes)))
