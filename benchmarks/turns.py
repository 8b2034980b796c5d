"""How a worker of `throughput.py` takes its turns: it runs an epoch when it reads a line, and
answers with one line of JSON.

All workers of a network run at the same time but only one computes, so that the ratios between
them hold whatever else the machine does. What the libraries print goes to standard error.
"""

import contextlib
import json
import os
import sys
import time
from typing import Any

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(value: dict[str, Any]) -> None:
    print(json.dumps(value), file=answers, flush=True)


def wait() -> None:
    """Wait for this worker's turn; ends the process when there is none left."""
    if not sys.stdin.readline():
        os._exit(0)


def clocks() -> tuple[float, float]:
    """The time now, and the CPU time that this process has used, which is meaningful even on a busy
    machine."""
    return time.perf_counter(), time.process_time()


def spent(times: list[tuple[float, float]]) -> dict[str, float]:
    """The seconds between four marks: `train`, `evaluate`, and the `rest` of an epoch;
    ``…_processor`` are CPU seconds."""
    result = {}
    for name, begin, end in zip(("train", "evaluate", "rest"), times, times[1:]):
        result |= {name: end[0] - begin[0], f"{name}_processor": end[1] - begin[1]}
    return result


def as_batch_job() -> None:
    """Linux's scheduling policy for batch jobs, as `stages.training.backend` asks for it."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def product_rate(multiply, side: int, seconds: float = 0.5) -> float:
    """FLOP/s of the best of several products of square matrices: `multiply` computes one, and waits
    for it."""
    multiply()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        multiply()
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best
