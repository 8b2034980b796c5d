#!/usr/bin/env python3
"""The expected time of all rows of the replications on a cluster of two-core machines.

usage: python benchmarks/replications_on_a_cluster.py [WORKERS ...]        (default: 1 4 16)

An experiment takes the `minutes` that replications/params.yaml expects, all seeds together, plus
OVERHEAD for evaluation and DVC. Each worker takes the next experiment in the order of params.yaml
whose `starts_from` is done, as commands.parallel does. Writes
benchmarks/results/replications_on_a_cluster.json and replications_on_a_cluster.md.
"""

import heapq
import sys
from pathlib import Path

from machine import PROJECT, write
from ruamel.yaml import YAML

FOLDER = PROJECT / "replications"
# seconds an experiment: the stage evaluate, and the start of two stages; data preparation is left
# out
OVERHEAD = 20.0


def makespan(tasks: dict[str, float], after: dict[str, str | None], workers: int) -> float:
    """Seconds until `workers` have done all `tasks`, taken in order, each once the task that it
    comes `after` is done."""
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
    tasks = {name: 60 * one["minutes"] + OVERHEAD for name, one in experiments.items()}
    starts = {name: Path(experiments[name]["starts_from"]) for name in tasks}
    after = {  # some start from another experiment, others from pre-trained weights
        name: start.name if start.parent.name == "trained" else None
        for name, start in starts.items()
    }
    content = {
        "seconds": tasks,
        "makespan_seconds": {
            workers: makespan(tasks, after, workers)
            for workers in map(int, sys.argv[1:] or (1, 4, 16))
        },
    }
    write("replications_on_a_cluster", content, table(content))


def table(content: dict) -> str:
    tasks = content["seconds"]
    longest = max(tasks, key=tasks.get)
    lines = [
        f"Computed from the minutes that replications/params.yaml expects of {len(tasks)} "
        f"experiments. The longest, {longest}, takes {tasks[longest] / 3600:.1f} hours: no number "
        "of workers takes less.",
        "",
        "| workers | hours |",
        "|--:|--:|",
        *(
            f"| {workers} | {seconds / 3600:.1f} |"
            for workers, seconds in content["makespan_seconds"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
