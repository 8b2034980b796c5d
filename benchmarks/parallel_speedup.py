#!/usr/bin/env python3
"""How close `python -m commands.parallel` comes to the ideal speed-up: stages that only sleep, on
workers of this machine.

usage: python benchmarks/parallel_speedup.py [STAGES SECONDS WORKERS]        (default: 40 30 8,
three and a half minutes)

The ideal is the stages' sleep divided by the workers. The CPU time (user and system, of all
processes) is that of the whole run divided by the stages: of a serial `dvc repro` of stages that
sleep 0 seconds, and of the parallel run. Writes benchmarks/results/parallel_speedup.json and
parallel_speedup.md.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import PROJECT, described, in_words, write

from commands.pipeline.process import build_environment

PIPELINE = """
stages:
  nap:
    matrix:
      number: [{numbers}]
    cmd: sleep {seconds} && echo ${{item.number}} > nap-${{item.number}}
    deps:
    - pillow
    outs:
    - nap-${{item.number}}
"""


def run(*command: str, cwd: Path) -> tuple[float, float]:
    """Run a command; returns its seconds, and the CPU seconds of it and all its children."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        command, cwd=cwd, env=build_environment(), text=True, capture_output=True
    )
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def project(folder: Path, stages: int, seconds: int) -> None:
    shutil.copytree(
        PROJECT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(PROJECT / "params.yaml", folder)
    (folder / "dvc.yaml").write_text(
        PIPELINE.format(numbers=", ".join(map(str, range(stages))), seconds=seconds)
    )
    (folder / "pillow").write_text("soft\n")
    (folder / ".gitignore").write_text("/nap-*\n__pycache__\n")
    run("git", "init", "--quiet", cwd=folder)
    run("dvc", "init", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run(
        "git",
        "-c",
        "user.name=b",
        "-c",
        "user.email=b@example.org",
        "commit",
        "--quiet",
        "--message",
        "naps",
        cwd=folder,
    )


def main() -> None:
    stages, seconds, workers = map(int, sys.argv[1:] or (40, 30, 8))
    with tempfile.TemporaryDirectory() as temporary:
        serial, parallel = Path(temporary) / "serial", Path(temporary) / "parallel"
        project(serial, stages, 0)
        project(parallel, stages, seconds)
        of_serial, cpu_serial = run("dvc", "repro", cwd=serial)
        of_parallel, cpu_parallel = run(
            sys.executable, "-m", "commands.parallel", "--workers", str(workers), cwd=parallel
        )
        left, _ = run("dvc", "repro", cwd=parallel)
    content = {
        "machine": described("dvc", "distributed"),
        "stages": stages,
        "seconds_of_a_stage": seconds,
        "workers": workers,
        "ideal_seconds": stages * seconds / workers,
        "serial_without_sleep": {"seconds": of_serial, "cpu_seconds_a_stage": cpu_serial / stages},
        "parallel": {"seconds": of_parallel, "cpu_seconds_a_stage": cpu_parallel / stages},
        "seconds_of_dvc_repro_afterwards": left,
    }
    write("parallel_speedup", content, table(content))


def table(content: dict) -> str:
    serial, parallel, ideal = (
        content["serial_without_sleep"],
        content["parallel"],
        content["ideal_seconds"],
    )
    lines = [
        f"{content['stages']} stages that sleep {content['seconds_of_a_stage']} s, on "
        f"{content['workers']} workers, once, n = 1: "
        f"{ideal / parallel['seconds']:.2f} of the ideal speed-up. {in_words(content['machine'])}.",
        "",
        "| run | seconds | seconds of CPU a stage |",
        "|---|--:|--:|",
        f"| `dvc repro`, without the sleep | {serial['seconds']:.1f} | "
        f"{serial['cpu_seconds_a_stage']:.2f} |",
        f"| `python -m commands.parallel` | {parallel['seconds']:.1f} | "
        f"{parallel['cpu_seconds_a_stage']:.2f} |",
        f"| ideal | {ideal:.1f} | |",
        "| `dvc repro` afterwards, with nothing to run | "
        f"{content['seconds_of_dvc_repro_afterwards']:.1f} | |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
