"""The processor that this process runs on."""

import os


def count_cores() -> int:
    """The cores that this process may use: fewer than the machine has under Slurm, or `taskset`."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
