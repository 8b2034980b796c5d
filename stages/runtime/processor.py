"""The processor that this process runs on."""

import os
import platform
from pathlib import Path

# instruction sets, the widest first, and their flags in /proc/cpuinfo
INSTRUCTION_SETS = {
    "avx512_bf16": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "avx2": {"avx2", "fma"},
}
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of CPU time, and per what


def count_cores() -> int:
    """The number of cores that this process may use: fewer than the machine has under Slurm,
    `taskset`, or ``docker run --cpus``."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, round(read_quota())))


def read_quota() -> float:
    """The number of cores that cgroup v2 allows a container; 1e6 without a limit, or outside
    one."""
    try:
        quota, period = QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # ValueError: "max"
        return 1e6


def read_name() -> str:
    """The processor's name as Linux reports it, else as Python does."""
    return read_cpuinfo("model name") or platform.processor()


def find_instruction_set() -> str:
    """The widest of `INSTRUCTION_SETS` that Linux reports for the processor, else ``other``."""
    flags = set(read_cpuinfo("flags").split())
    return next((name for name, needed in INSTRUCTION_SETS.items() if needed <= flags), "other")


def has(widest: str, instruction_set: str) -> bool:
    """Whether a processor whose `find_instruction_set` is `widest` has `instruction_set`."""
    order = [*INSTRUCTION_SETS, "other"]
    return order.index(widest) <= order.index(instruction_set)


def read_cpuinfo(field: str) -> str:
    """The `field` of the first processor in /proc/cpuinfo; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")
