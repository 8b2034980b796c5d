"""The processor that this process runs on."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of computing, in how many


def count_cores() -> int:
    """The cores that this process may use: fewer than the machine has under Slurm, `taskset`, or
    ``docker run --cpus``."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, round(read_quota())))


def read_quota() -> float:
    """The cores that a container is given, by cgroup's version 2; without a limit, or elsewhere,
    more than any machine has."""
    try:
        given, period = QUOTA.read_text().split()
        return int(given) / int(period)
    except (OSError, ValueError):  # ValueError: "max"
        return 1e6
