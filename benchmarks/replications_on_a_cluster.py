#!/usr/bin/env python3
"""What to expect of the documents' 38 experiments on a cluster, from the seconds that each took
here.

usage: python benchmarks/replications_on_a_cluster.py [WORKERS ...]        (default: 1 4 16)

The seconds of an experiment are those in replications/runs/NAME.json, all seeds together, plus
OVERHEAD for evaluation and DVC. The workers are as the machine that measured; each takes the next
experiment in the order of params.yaml whose `starts_from` is done, as commands.parallel does.
Experiments without a record are named, and left out. Writes
benchmarks/results/replications_on_a_cluster.json and replications_on_a_cluster.md.
"""

import heapq
import json
import sys
from pathlib import Path

from machine import PROJECT, write
from ruamel.yaml import YAML

FOLDER = PROJECT / "replications"
# seconds an experiment: the stage evaluate, and the start of two stages; data preparation is left
# out
OVERHEAD = 20.0


def seconds(name: str) -> float | None:
    record = FOLDER / "runs" / f"{name}.json"
    if not record.exists():
        return None
    return (
        sum(seed["seconds"]["all"] for seed in json.loads(record.read_text()).values()) + OVERHEAD
    )


def makespan(tasks: dict[str, float], after: dict[str, str | None], workers: int) -> float:
    """Seconds until all `tasks` are done by `workers` that take them in order, each once the one
    that it comes `after` is done."""
    waiting, running, done, now = list(tasks), [], set(), 0.0
    while waiting or running:
        for name in [name for name in waiting if after[name] is None or after[name] in done]:
            if len(running) < workers:
                waiting.remove(name)
                heapq.heappush(running, (now + tasks[name], name))
        now, name = heapq.heappop(running)
        done.add(name)
    return now


def main() -> None:
    experiments = YAML(typ="safe").load(FOLDER / "params.yaml")["experiments"]
    measured = {name: seconds(name) for name in experiments}
    tasks = {name: time for name, time in measured.items() if time is not None}
    starts = {name: Path(experiments[name]["starts_from"]) for name in tasks}
    after = {  # some start from another experiment, others from pre-trained weights
        name: start.name if start.parent.name == "trained" and start.name in tasks else None
        for name, start in starts.items()
    }
    content = {
        "seconds": tasks,
        "without_a_record": [name for name in experiments if name not in tasks],
        "makespan_seconds": {
            workers: makespan(tasks, after, workers)
            for workers in map(int, sys.argv[1:] or (1, 4, 16))
        },
    }
    write("replications_on_a_cluster", content, table(content))


def table(content: dict) -> str:
    tasks, missing = content["seconds"], content["without_a_record"]
    longest = max(tasks, key=tasks.get)
    lines = [
        f"Computed from the seconds of {len(tasks)} of {len(tasks) + len(missing)} experiments in "
        "replications/runs, which name "
        f"their machines. The longest, {longest}, takes {tasks[longest] / 60:.1f} minutes: no "
        "number of workers takes less.",
        "",
        "| workers | minutes |",
        "|--:|--:|",
        *(
            f"| {workers} | {seconds / 60:.1f} |"
            for workers, seconds in content["makespan_seconds"].items()
        ),
    ]
    if missing:
        lines += ["", f"Without a record, and left out: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
