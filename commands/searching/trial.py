"""Run one training of a search in a worker's clone; the worker starts this, and nobody else.

usage: python -m commands.searching.trial REQUEST

REQUEST is a JSON file:

    model          the model that is trained
    files          text by path: params.yaml with the settings of this run, and dvc.lock
    stages, given  addresses: of the stages of dvc.yaml to run, in their order, and of those whose
                   outputs they take
    keep           the folder that keeps the checkpoint so far, from which a training goes on that
                   was stopped; a machine that lacks its parent keeps it in the clone
    parts          the parts of the data that are measured: validation, and test for a winner alone
    remote         whether results travel through DVC's default remote

While the model trains, ``progress.json`` beside REQUEST holds the rows of its history.csv. At the
end comes ``result.json``: the entries of the `stages` in dvc.lock, and `measures` by part. The
process, and all that it started, ends when its parent does.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from commands.parallel import exchange
from commands.parallel.instance import end_with_parent
from stages.storage import files
from stages.training.experiment import locate_head_checkpoint

LOOK = 0.3  # seconds between two looks at a history
CHECKPOINT = Path("checkpoint.npz")  # the stage train writes these
CHECKPOINTS = (locate_head_checkpoint(CHECKPOINT).name, CHECKPOINT.name)


class Watch(threading.Thread):
    """Follows the training in `folder`: keeps its checkpoints in the folder `keep`, and writes its
    history as JSON to the file `progress`."""

    def __init__(self, folder: Path, keep: Path, progress: Path):
        super().__init__(daemon=True)
        self.folder, self.keep, self.progress = folder, keep, progress
        self.seen, self.over = None, threading.Event()

    def run(self) -> None:
        while not self.over.wait(LOOK):
            self.look()

    def end(self) -> None:
        self.over.set()
        self.join()
        self.look()

    def look(self) -> None:
        import pandas as pd

        history = self.folder / "history.csv"
        try:
            stamp = history.stat().st_mtime_ns
            if stamp == self.seen:
                return
            rows = pd.read_csv(history).to_json(orient="records")
        except (FileNotFoundError, pd.errors.EmptyDataError):  # not yet there, or not yet whole
            return
        for name in CHECKPOINTS:
            keep(self.folder / name, self.keep)
        files.write_text(self.progress, rows)
        self.seen = stamp


def keep(file: Path, folder: Path) -> None:
    """Have `file` in `folder` as it is now. A training replaces its files and never writes into
    them, so that a hard link keeps what it is made of."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = contextlib.suppress(FileNotFoundError)  # a training has not both at all times
    with missing, files.replacing(folder / file.name) as partial:
        try:
            os.link(file, partial)
        except OSError:  # another disk
            shutil.copy(file, partial)


def prepare(folder: Path, kept: Path) -> None:
    """Make `folder` that of a training that goes on from what is `kept`, if anything is. What a
    pre-trained network makes of the images stays for the next training of the clone."""
    folder.mkdir(parents=True, exist_ok=True)
    files.remove(folder / "history.csv")
    for name in CHECKPOINTS:
        files.remove(folder / name)
        if (kept / name).exists():
            shutil.copy(kept / name, folder / name)


def run_stages(request: dict[str, Any]) -> dict[str, Any]:
    """Run the stages of a request by DVC. Returns their entries in dvc.lock."""
    from dvc.repo import Repo

    with Repo() as repo:
        exchange.fetch_all(repo, request["given"], request["remote"])
        return dict(exchange.run(repo, one, request["remote"]) for one in request["stages"])


def measure(folder: Path, parts: list[str]) -> dict[str, dict[str, float]]:
    """accuracy, standard_error and loss of the saved model on each of `parts`; None for all
    three where the training diverged, and the network predicts no numbers."""
    import numpy as np

    from stages.metrics import scores
    from stages.storage.prepared import Prepared

    prepared, measured = Prepared(), {}
    with np.load(folder / "predictions.npz") as predictions:
        for part in parts:
            if not np.isfinite(predictions[part]).all():
                measured[part] = {"accuracy": None, "standard_error": None, "loss": None}
                continue
            labels = prepared.labels(part)
            accuracy = float(np.mean(predictions[part].argmax(axis=1) == labels))
            measured[part] = {
                "accuracy": accuracy,
                "standard_error": scores.estimate_standard_error(accuracy, len(labels)),
                "loss": scores.measure_loss(predictions[part], labels),
            }
    return measured


def main(request_file: Path) -> None:
    request = json.loads(request_file.read_text(encoding="utf-8"))
    folder, kept = Path("models") / request["model"], Path(request["keep"])
    if not kept.parent.exists():
        kept = Path(".dvc/tmp/kept") / kept.name
    for path, text in request["files"].items():
        files.write_text(Path(path), text)
    prepare(folder, kept)
    watch = Watch(folder, kept, request_file.with_name("progress.json"))
    watch.start()
    try:
        entries = run_stages(request)
    finally:
        watch.end()
    result = {"stages": entries, "measures": measure(folder, request["parts"])}
    files.write_json(request_file.with_name("result.json"), result)
    files.remove(kept)  # the training is whole now


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]))
