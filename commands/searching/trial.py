"""Run one training of a search in a worker's clone; only started by the worker.

usage: python -m commands.searching.trial REQUEST

REQUEST is a JSON file:

    model          the model to train
    files          texts by path: params.yaml with the settings of this run, and dvc.lock
    stages, given  addresses of the stages of dvc.yaml to run, in order, and of those whose existing
                   outputs they use
    keep           the folder for the checkpoint, from which an interrupted training resumes; if its
                   parent does not exist on this machine, the checkpoint is kept in the clone
    parts          the parts of the data to measure: validation; also test, only for a winner
    remote         whether results are exchanged through DVC's default remote

During training, ``progress.json`` beside REQUEST has the rows of its history.csv. At the end,
``result.json`` has the entries of the `stages` in dvc.lock, and the `measures` by part. The process
and its children end when its parent does.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from commands.parallel import exchange
from commands.parallel.instance import end_with_parent
from stages.storage import files
from stages.training.experiment import locate_head_checkpoint

INTERVAL = 0.3  # seconds between two looks at a history
CHECKPOINT = Path("checkpoint.npz")  # the stage train writes these
CHECKPOINTS = (locate_head_checkpoint(CHECKPOINT).name, CHECKPOINT.name)


class CheckpointSaver(threading.Thread):
    """Follows the training in `folder`: saves its checkpoints in the folder `keep`, and its history
    as JSON in the file `progress`."""

    def __init__(self, folder: Path, keep: Path, progress: Path):
        super().__init__(daemon=True)
        self.folder, self.keep, self.progress = folder, keep, progress
        self.last_change, self.stopped = None, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(INTERVAL):
            self.update()

    def end(self) -> None:
        self.stopped.set()
        self.join()
        self.update()

    def update(self) -> None:
        import pandas as pd

        history = self.folder / "history.csv"
        try:
            changed = history.stat().st_mtime_ns
            if changed == self.last_change:
                return
            rows = pd.read_csv(history).to_json(orient="records")
        except (FileNotFoundError, pd.errors.EmptyDataError):  # missing or incomplete so far
            return
        for name in CHECKPOINTS:
            save_copy(self.folder / name, self.keep)
        files.write_text(self.progress, rows)
        self.last_change = changed


def save_copy(file: Path, folder: Path) -> None:
    """Save the current content of `file` in `folder`. A hard link suffices: a training replaces its
    files and never writes into them."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = contextlib.suppress(FileNotFoundError)  # not both checkpoints exist at all times
    with missing, files.replacing(folder / file.name) as partial:
        try:
            os.link(file, partial)
        except OSError:  # another disk
            shutil.copy(file, partial)


def prepare(folder: Path, kept: Path) -> None:
    """Prepare the training's `folder`: remove the last training's files, and restore the checkpoint
    in `kept`, if any. The features of a pre-trained network stay for the next training in this
    clone."""
    folder.mkdir(parents=True, exist_ok=True)
    files.remove(folder / "history.csv")
    for name in CHECKPOINTS:
        files.remove(folder / name)
        if (kept / name).exists():
            shutil.copy(kept / name, folder / name)


def run_stages(request: dict[str, Any]) -> dict[str, Any]:
    """Run the stages of a request by DVC. Returns their entries in dvc.lock."""
    with Repo() as repo:
        exchange.fetch_all(repo, request["given"], request["remote"])
        return dict(exchange.run(repo, address, request["remote"]) for address in request["stages"])


def measure(folder: Path, parts: list[str]) -> dict[str, dict[str, float]]:
    """accuracy, standard_error and loss of the saved model on each of `parts`; all None if the
    training diverged, so that the network predicts NaN."""
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
    saver = CheckpointSaver(folder, kept, request_file.with_name("progress.json"))
    saver.start()
    try:
        entries = run_stages(request)
    finally:
        saver.end()
    result = {"stages": entries, "measures": measure(folder, request["parts"])}
    files.write_json(request_file.with_name("result.json"), result)
    files.remove(kept)  # the training is complete


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]))
