#!/usr/bin/env python3
"""What `train.precision: mixed_bfloat16` does to the accuracy: one network, in both precisions,
with the same seeds.

usage: python benchmarks/precision.py [SEED ...]        (default: 1 2 3; needs data/prepared, which
`dvc repro preprocess` makes)

Trains fashion-2blocks as params.yaml has it, in turn in float32 and mixed_bfloat16, by
`stages.training.run.run`. Writes benchmarks/results/precision.json and precision.md. Takes about a
minute a seed on two cores.
"""

import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from machine import PROJECT, described, in_words, write

sys.path.insert(0, str(PROJECT))
from stages import params
from stages.storage.prepared import Prepared
from stages.training import backend
from stages.training import run as train

MODEL = "fashion-2blocks"
PRECISIONS = ("float32", "mixed_bfloat16")


def table(content: dict) -> str:
    lines = [
        f"{MODEL} on the default data, test accuracy. {in_words(content['machine'])}.",
        "",
        "| seed | float32 | mixed_bfloat16 | difference |",
        "|--:|--:|--:|--:|",
    ]
    pairs = {
        seed: [runs[precision] for precision in PRECISIONS]
        for seed, runs in content["seeds"].items()
    }
    lines += [
        f"| {seed} | {one:.4f} | {other:.4f} | {other - one:+.4f} |"
        for seed, (one, other) in pairs.items()
    ]
    differences = [other - one for one, other in pairs.values()]
    if len(differences) > 1:
        one, other = (mean(values) for values in zip(*pairs.values()))
        lines.append(
            f"| mean | {one:.4f} | {other:.4f} | {mean(differences):+.4f}, sd "
            f"{stdev(differences):.4f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    options, prepared, content = params.load(), Prepared(), {"seeds": {}}
    if not prepared.folder.exists():
        sys.exit(f"{prepared.folder} is missing: run `dvc repro` first")
    backend.start(options.train.threads)
    for seed in sys.argv[1:] or ("1", "2", "3"):
        content["seeds"][seed] = {}
        for precision in PRECISIONS:
            recipe = options.train.model_copy(update={"precision": precision})
            experiment = train.Experiment(
                MODEL, int(seed), options.architectures[MODEL], options.augment, recipe
            )
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                train.run(experiment, prepared, folder, folder / "checkpoint.npz")
                with np.load(folder / "predictions.npz") as file:
                    content["seeds"][seed][precision] = float(
                        np.mean(file["test"].argmax(axis=1) == prepared.labels("test"))
                    )
    content["machine"] = described("keras", "tensorflow")
    write("precision", content, table(content))


if __name__ == "__main__":
    main()
