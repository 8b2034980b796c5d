#!/usr/bin/env python3
"""How near `python -m stages.parallel` comes to the ideal speed-up: stages that only sleep, on workers of this machine.

usage: python benchmarks/parallel_speedup.py [STAGES SECONDS WORKERS]        (default: 40 30 8, three and a half minutes)

The ideal is the stages' sleep divided by the workers. The CPU time (user and system, of all processes) is that of the whole run
divided by the stages: of a serial `dvc repro` of stages that sleep 0 seconds, and of the parallel run.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
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
    """Run a command; returns its seconds, and the seconds of CPU of it and all that it started."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, cwd=cwd, env=os.environ | {"PATH": path}, text=True, capture_output=True)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def project(folder: Path, stages: int, seconds: int) -> None:
    shutil.copytree(PROJECT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "params.yaml", folder)
    (folder / "dvc.yaml").write_text(PIPELINE.format(numbers=", ".join(map(str, range(stages))), seconds=seconds))
    (folder / "pillow").write_text("soft\n")
    (folder / ".gitignore").write_text("/nap-*\n__pycache__\n")
    run("git", "init", "--quiet", cwd=folder)
    run("dvc", "init", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run("git", "-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "--quiet", "--message", "naps", cwd=folder)


def main() -> None:
    stages, seconds, workers = map(int, sys.argv[1:] or (40, 30, 8))
    with tempfile.TemporaryDirectory() as temporary:
        serial, parallel = Path(temporary) / "serial", Path(temporary) / "parallel"
        project(serial, stages, 0)
        project(parallel, stages, seconds)
        of_serial, cpu_serial = run("dvc", "repro", cwd=serial)
        of_parallel, cpu_parallel = run(sys.executable, "-m", "stages.parallel", "--workers", str(workers), cwd=parallel)
        left, _ = run("dvc", "repro", cwd=parallel)
    ideal = stages * seconds / workers
    print(f"{stages} stages of {seconds} s on {workers} workers, {os.cpu_count()} cores")
    print(f"dvc repro, without the sleep: {of_serial:.1f} s, {cpu_serial / stages:.2f} s of CPU a stage")
    print(f"stages.parallel:              {of_parallel:.1f} s, {cpu_parallel / stages:.2f} s of CPU a stage")
    print(f"ideal: {ideal:.1f} s; {ideal / of_parallel:.2f} of the ideal speed-up")
    print(f"dvc repro afterwards, with nothing to run: {left:.1f} s")


if __name__ == "__main__":
    main()
