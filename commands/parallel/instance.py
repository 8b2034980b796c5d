"""Run one stage instance in a worker's clone; only started by the worker.

usage: python -m commands.parallel.instance REQUEST

REQUEST is a JSON file:

    address     the stage, as for `dvc repro`
    upstream    the addresses of the stages whose outputs it reads
    locks       entries to add to lock files: {file: {stage: entry}}, of instances that ran
                meanwhile
    remote      whether results are exchanged through DVC's default remote

Writes ``result.json`` beside it: the stage's `entry` in its lock file, and the texts of the
`records` that it wrote. The process and its children end when its parent does.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml

from commands.parallel import exchange
from stages.storage import files

# files that stages write and DVC does not track
RECORDS = ("models/*/run.json", "models/*/latency.json", "replications/runs/*.json")


def end_with_parent() -> None:
    """End this process and its children soon after its parent ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)  # the worker made it the leader of a group of its own

    threading.Thread(target=watch, daemon=True).start()


def add_entries(locks: dict[str, dict[str, Any]]) -> None:
    """Add entries of stages to lock files, as DVC would."""
    for file, stages in locks.items():
        with modify_yaml(file) as content:
            content.setdefault("schema", "2.0")
            content.setdefault("stages", {}).update(stages)


def main(request_file: Path) -> None:
    request = json.loads(request_file.read_text(encoding="utf-8"))
    add_entries(request["locks"])
    started = time.time()
    with Repo() as repo:
        exchange.fetch_all(repo, request["upstream"], request["remote"])
        _, entry = exchange.run(repo, request["address"], request["remote"])
    records = {
        path.as_posix(): path.read_text(encoding="utf-8")
        for pattern in RECORDS
        for path in Path().glob(pattern)
        if path.stat().st_mtime >= started
    }
    files.write_json(request_file.with_name("result.json"), {"entry": entry, "records": records})


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]))
