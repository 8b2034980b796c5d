#!/usr/bin/env python3
"""Images per second in training and evaluation, by the notebook's way, this project's stage, and
PyTorch, on five of the networks.

usage: python benchmarks/throughput.py [--torch PYTHON] [--epochs N] [NETWORK ...]

PYTHON is an interpreter with benchmarks/requirements.txt; without it PyTorch is left out. For each
network a process per way runs, and they take turns, an epoch each: a, b, c, a, b, c, ... The first
two epochs of each, in which graphs are made, do not count. Images are random, of the network's
size, on disk as preprocess writes them; recipe and batch size are the replications'. The stage must
end with the same weights without what makes it faster: their SHA-256 is compared. Writes
benchmarks/results/throughput.json, with every epoch, and throughput.md. Takes about 23 minutes on
two cores.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import geometric_mean, median

from machine import PROJECT, RESULTS, described, in_words, write, write_prepared

sys.path.insert(0, str(PROJECT))
from stages.replications import options

# experiment of the replications, shape of its images, classes, training images, validation images,
# of which in a step
NETWORKS = {
    "fashion-2blocks": ("fashion-2blocks-adam", (28, 28, 1), 10, 3500, 2000, 250),
    "fashion-2blocks-bn-before": (
        "fashion-2blocks-bn-before-adam",
        (28, 28, 1),
        10,
        2000,
        1500,
        250,
    ),
    "cifar10-experiment4": ("cifar10-experiment4", (32, 32, 3), 10, 2560, 1500, 250),
    "cifar100-simple-cnn": ("cifar100-simple-cnn", (32, 32, 3), 100, 192, 250, 250),
    "flowers-improvement4": ("flowers-v7-improvement4-bn", (150, 150, 3), 5, 96, 100, 50),
}
KERAS = {
    "notebook": "notebook's way, default scheduling",
    "notebook-batch": "notebook's way, SCHED_BATCH",
    "stage": "this project's stage",
    "stage-plain": "this project's stage, plain",
    "stage-bfloat16": "this project's stage, mixed_bfloat16",
}
TORCH = {
    "eager": "PyTorch, eager",
    "compile": "PyTorch, torch.compile",
    "compile-bfloat16": "PyTorch, torch.compile, bfloat16",
}
WARM_UP = 2  # epochs in which graphs are made
SIDE = 3000  # of the matrices whose product is the machine's ceiling


class Worker:
    """A process that computes on demand."""

    def __init__(self, python: str, script: str, way: str, job: Path):
        environment = os.environ | {"PYTHONPATH": str(PROJECT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python, str(PROJECT / f"benchmarks/{script}.py"), way, str(job)]
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            sys.exit(f"{' '.join(self.process.args)} ended:\n{self.errors.read().decode()[-3000:]}")
        return json.loads(line)

    def turn(self) -> dict:
        with contextlib.suppress(BrokenPipeError):  # it has ended; `read` reports why
            print(file=self.process.stdin, flush=True)
        return self.read()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(network: str, epochs: int, torch: str | None) -> dict:
    """Measure all epochs of all ways on one network."""
    experiment, shape, classes, train, validation, prediction = NETWORKS[network]
    root, replications = options.load()
    entry = replications.experiments[experiment]
    recipe = options.complete_train(replications.common, entry).model_dump()
    with tempfile.TemporaryDirectory() as temporary:
        folder, job = Path(temporary), Path(temporary) / "job.json"
        write_prepared(folder, shape, classes, train=train, validation=validation)
        early_stopping = {"monitor": "val_accuracy", "patience": None, "restore_best": "never"}
        content = {
            "name": network,
            "folder": str(folder),
            "side": SIDE,
            "architecture": root.architectures[entry.architecture].model_dump(exclude_unset=True),
            "augment": replications.common.augment.model_dump(),
            "train": recipe
            | {
                "epochs": epochs + WARM_UP,
                "prediction_batch_size": prediction,
                "early_stopping": early_stopping,
            },
        }
        job.write_text(json.dumps(content))
        kinds = [(sys.executable, "keras_worker", [*KERAS, "ceiling"])]
        if torch:
            kinds.append((torch, "torch_worker", [*TORCH, "ceiling"]))
        workers = {
            (script, way): Worker(python, script, way, job)
            for python, script, ways in kinds
            for way in ways
        }
        about = {
            way: worker.read() for (_, way), worker in workers.items()
        }  # they start at the same time
        for _ in range(WARM_UP):
            for worker in workers.values():
                worker.turn()
        turns = {key: [] for key in workers}
        for _ in range(epochs):
            for key, worker in workers.items():
                turns[key].append(worker.turn())
        weights = {
            way: workers["keras_worker", way].read()["weights"] for way in ("stage", "stage-plain")
        }
        for worker in workers.values():
            worker.end()
    if len({about[way]["parameters"] for way in [*KERAS, *(TORCH if torch else [])]}) > 1:
        sys.exit(f"{network}: the networks differ: {about}")
    forward, training = about["notebook"]["flop"]
    rates = [turn for (_, way), some in turns.items() if way == "ceiling" for turn in some]
    result = {
        "experiment": experiment,
        "images": {
            "train": train,
            "validation": validation,
            "batch": recipe["batch_size"],
            "evaluation_batch": prediction,
        },
        "parameters": about["notebook"]["parameters"],
        "flop_an_image": {"training": training, "evaluation": forward},
        "ceiling": {name: max(turn[name] for turn in rates) for name in ("float32", "bfloat16")},
        "weights": weights,
        "ways": {},
        "torch": about["eager"]["torch"] if torch else None,
    }
    for (_, way), epochs_of in turns.items():
        if way != "ceiling":
            result["ways"][way] = {
                "training": [round(train / turn["train"], 1) for turn in epochs_of],
                "evaluation": [round(validation / turn["evaluate"], 1) for turn in epochs_of],
                "training_processor_ms": [
                    round(1000 * turn["train_processor"] / train, 4) for turn in epochs_of
                ],
                "rest_seconds": [round(turn["rest"], 3) for turn in epochs_of],
            }
    return result


def ratio(networks: dict, one: str, other: str, what: str) -> list[float]:
    """Median of `one` divided by median of `other`, for each network."""
    return [
        median(result["ways"][one][what]) / median(result["ways"][other][what])
        for result in networks.values()
    ]


def table(content: dict) -> str:
    networks = content["networks"]
    some = next(iter(networks.values()))
    n = len(some["ways"]["stage"]["training"])
    names = {way: name for way, name in (KERAS | TORCH).items() if way in some["ways"]}
    lines = [
        f"Images a second: median of {n} epochs, least to greatest in brackets. "
        f"{in_words(content['machine'])}"
        + (f", torch {some['torch']}" if some["torch"] else "")
        + ".",
    ]
    for what in ("training", "evaluation"):
        lines += ["", f"| {what} | {' | '.join(networks)} |", "|---|" + "--:|" * len(networks)]
        for way, name in names.items():
            cells = []
            for result in networks.values():
                rates = result["ways"][way][what]
                cells.append(f"{median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})")
            lines.append(f"| {name} | {' | '.join(cells)} |")
        for precision, suffix in (("float32", ""), ("bfloat16", "-bfloat16")):
            shares = [
                median(result["ways"]["stage" + suffix][what])
                * result["flop_an_image"][what]
                / result["ceiling"][precision]
                for result in networks.values()
            ]
            lines.append(
                f"| the stage's share of the {precision} ceiling | "
                f"{' | '.join(f'{share:.0%}' for share in shares)} |"
            )
    lines += [
        "",
        f"| processor's ms an image, training | {' | '.join(networks)} |",
        "|---|" + "--:|" * len(networks),
    ]
    for way, name in names.items():
        cells = [
            f"{median(result['ways'][way]['training_processor_ms']):.3f}"
            for result in networks.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    pairs = [
        ("stage", way)
        for way in names
        if way not in ("stage", "stage-bfloat16", "compile-bfloat16")
    ]
    pairs += [("stage-bfloat16", "stage")] + (
        [("stage-bfloat16", "compile-bfloat16")] if "compile" in names else []
    )
    for what in ("training", "evaluation"):
        lines += [
            "",
            f"| ratio in {what} | " + " | ".join(networks) + " | geometric mean |",
            "|---|" + "--:|" * (len(networks) + 1),
        ]
        for one, other in pairs:
            ratios = ratio(networks, one, other, what)
            cells = [f"{value:.2f}" for value in [*ratios, geometric_mean(ratios)]]
            lines.append(f"| {names[one]} ÷ {names[other]} | {' | '.join(cells)} |")
    same = [
        "equal" if len(set(result["weights"].values())) == 1 else "DIFFERENT"
        for result in networks.values()
    ]
    lines += [
        "",
        f"| SHA-256 of the weights | {' | '.join(networks)} |",
        "|---|" + "---|" * len(networks),
    ]
    lines.append(f"| {names['stage']}, and plain | {' | '.join(same)} |")
    ceilings = {
        name: max(result["ceiling"][name] for result in networks.values()) / 1e9
        for name in ("float32", "bfloat16")
    }
    lines += [
        "",
        "*Plain*: with a batch a step, one operation at a time, no read-ahead, default scheduling, "
        "and freed memory given back to the system.",
        "",
        f"The ceiling: the fastest product of two matrices of {SIDE}×{SIDE}, by TensorFlow or "
        "PyTorch: "
        f"{ceilings['float32']:.0f} GFLOP/s in float32, {ceilings['bfloat16']:.0f} in bfloat16. "
        "Operations an image are counted from the layers: "
        + ", ".join(
            f"{name} {result['flop_an_image']['training'] / 1e6:,.0f} million in training"
            for name, result in networks.items()
        )
        + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch", metavar="PYTHON", help="interpreter of an environment with PyTorch"
    )
    parser.add_argument("--epochs", type=int, default=7, help="measured, of each way and network")
    parser.add_argument(
        "networks", nargs="*", default=list(NETWORKS), metavar="NETWORK", help="default: all five"
    )
    arguments = parser.parse_args()
    os.chdir(PROJECT)
    file = RESULTS / "throughput.json"
    content = json.loads(file.read_text()) if file.exists() else {"networks": {}}
    content["machine"] = described("keras", "tensorflow", "numpy")
    for network in arguments.networks:
        content["networks"][network] = measure(network, arguments.epochs, arguments.torch)
        content["networks"] = {
            name: content["networks"][name] for name in NETWORKS if name in content["networks"]
        }
        write("throughput", content, table(content))


if __name__ == "__main__":
    main()
