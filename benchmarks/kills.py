#!/usr/bin/env python3
"""Random kills of `dvc repro`, and whether the next run ends with the bits of an undisturbed one.

usage: python benchmarks/kills.py [--rounds N] [--seed S] [--folder FOLDER]

The project is the tests' small one, with the real stages and DVC. In each round it forgets a stage
drawn at random, or everything: its outputs, its entry in dvc.lock, what DVC's cache knows of its
runs. `dvc repro` starts; at a random moment, as soon as a file is being written, or as soon as a
training has left a checkpoint, kill -9 hits DVC, the stage, or both; and `dvc repro` runs again at
once. It must succeed, with equal lock files and an equal SHA-256 of each output. A FOLDER is kept,
and the next call continues in it. Writes benchmarks/results/kills.json and kills.md. A round takes
about 20 seconds on two cores."""

import argparse
import json
import math
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from machine import described, in_words, write
from support.kills import (
    EVERYTHING,
    after,
    checkpointed,
    differing,
    entries,
    one_round,
    state,
    writing,
)
from support.project import Project, small_project

COUNTED = ("left_partial_file", "rwlock_deleted", "went_on_behind_an_epoch", "equal")


def longer(params) -> None:
    """Set enough epochs for a kill to hit between two of them."""
    params["train"]["epochs"] = 20
    params["train"]["early_stopping"]["patience"] = 19


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
        "| resumed after an epoch | equal bits |",
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
            if not result["killed"]:  # the kill came too late
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
