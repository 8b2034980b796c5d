#!/usr/bin/env python3
"""Where the time of the default `dvc repro` goes that is not training, by cause and by stage.

usage: python benchmarks/overhead.py

Runs the whole pipeline once, as params.yaml has it, in a copy of the project without DVC's cache;
`timed_stage.py` runs each stage and times it by cause. Time outside all processes of stages is
DVC's own. Writes benchmarks/results/overhead.json and overhead.md. Takes about 5
minutes on two cores.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from machine import PROJECT, described, in_words, write

DVC = "DVC: start, hashing, cache, lock files"
REST = "the stages' own work"


def copied(folder: Path) -> None:
    """A new git repository with the working tree's files that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, bin_folder, log = (
            Path(temporary) / "project",
            Path(temporary) / "bin",
            Path(temporary) / "log",
        )
        folder.mkdir()
        bin_folder.mkdir()
        copied(folder)
        python = bin_folder / "python"
        python.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{PROJECT}/benchmarks/timed_stage.py" "{log}" '
            '"$@"\n'
        )
        python.chmod(0o755)
        environment = os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "dvc", "repro"], cwd=folder, env=environment, check=True
        )
        total = time.perf_counter() - begin
        records = [json.loads(line) for line in log.read_text().splitlines()]
    causes: Counter = Counter({DVC: total - sum(record["seconds"] for record in records)})
    stages: dict[str, dict] = {}
    for record in records:
        own = Counter(record["causes"])
        own[REST] = record["seconds"] - own.total()
        causes.update(own)
        name = (
            record["stage"].rpartition(".")[2]
            if "timed" not in record["stage"]
            else record["stage"]
        )
        one = stages.setdefault(name, {"runs": 0, "seconds": 0.0, "not_fit": []})
        one["runs"] += 1
        one["seconds"] += record["seconds"]
        one["not_fit"].append(
            round(record["seconds"] - own["fit: training"] - own["fit: validation"], 2)
        )
    content = {
        "machine": described("dvc", "keras", "tensorflow"),
        "seconds": total,
        "causes": dict(causes.most_common()),
        "stages": stages,
    }
    fit = causes["fit: training"] + causes["fit: validation"]
    lines = [
        f"The default `dvc repro`, once, n = 1: {total:.0f} s, of which {fit:.0f} s fit and "
        f"{total - fit:.0f} s everything else. "
        f"{in_words(content['machine'])}.",
        "",
        "| cause | seconds | share |",
        "|---|--:|--:|",
        *(
            f"| {cause} | {spent:.1f} | {spent / total:.1%} |"
            for cause, spent in causes.most_common()
        ),
        "",
        "| stage | runs | seconds | beyond fit, a run |",
        "|---|--:|--:|--:|",
    ]
    for name, one in stages.items():
        least, greatest = min(one["not_fit"]), max(one["not_fit"])
        beyond = f"{least:.1f}" if one["runs"] == 1 else f"{least:.1f}–{greatest:.1f}"
        lines.append(f"| {name} | {one['runs']} | {one['seconds']:.1f} | {beyond} |")
    write("overhead", content, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
