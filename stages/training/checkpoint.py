"""Stopping and going on: after each epoch everything that the rest of a training depends on is kept
in one file.

A training that goes on from it ends with the same bits as one that was never interrupted. Keras's
`BackupAndRestore` and ``.keras`` files do not achieve that: they leave out the state of the random
generators of dropout, and of early stopping.
"""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.storage import files
from stages.training.experiment import locate_finished


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's, with the choice of when the best epoch's weights come back: always, only
    when_stopped early, or never.

    Keras 3 restores them at the epoch limit too (always); TensorFlow 2.6, which the documents used,
    only when it stopped.
    """

    def __init__(self, monitor: str, patience: int | None, restore_best: str):
        super().__init__(
            monitor=monitor,
            mode="max" if "accuracy" in monitor else "min",
            patience=float("inf") if patience is None else patience,
            restore_best_weights=restore_best != "never",
        )
        self.restore_best = restore_best

    def on_train_end(self, logs=None):
        if self.restore_best == "when_stopped" and not self.stopped_epoch:
            self.best_weights = None
        super().on_train_end(logs)


@dataclass(frozen=True)
class Past:
    """What a training takes over from one before it: the logs of its epochs, early stopping's
    state, and the seconds that it took."""

    history: list[dict[str, float]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class Checkpoint(keras.callbacks.Callback):
    """Keep `file` up to date while `model` trains, and take up the training where it stands when it
    fits.

    It fits when its `fingerprint` is equal: a text that changes with anything that the training's
    result depends on. Place this callback behind `early_stopping`, whose state it keeps. `history`
    lists a dict of logs for each epoch done; `seconds` is what these took, with those of `past`,
    however often the training was stopped. A training that follows on another one begins with that
    one's `past`, and ends with the epoch `limit`, if not before.

    The last state of a training that ended may lie beside `file` (`locate_finished`): one of more
    epochs, and else the same, goes on from it.
    """

    def __init__(
        self,
        file: Path,
        fingerprint: str,
        model: keras.Model,
        optimizer: keras.Optimizer,
        early_stopping: EarlyStopping,
        past: Past,
        limit: int,
    ):
        super().__init__()
        self.file, self.fingerprint, self.early_stopping = file, fingerprint, early_stopping
        self.limit = limit
        self.variables = [*model.variables, *optimizer.variables]
        self.history, self.seconds = [*past.history], past.seconds
        self.extends = False  # whether it goes on from a finished one of fewer epochs
        self.finished = False  # whether early stopping has ended the training
        self.kept: dict[str, Any] = {**past.kept}  # early stopping's state

    def restore(self) -> Path | None:
        """Load the state of this training, or else of a finished one that had fewer epochs.
        Returns the file; None where there is none, it is damaged, or of another training."""
        for file in (self.file, locate_finished(self.file)):
            try:
                if self.load(file):
                    self.extends = file != self.file
                    return file
            except FileNotFoundError:
                continue
            except (MemoryError, PermissionError):
                raise  # the file may be good
            except Exception as error:  # one that was cut short or overwritten fails in any way
                why = str(error) or type(error).__name__
                print(f"{file} is damaged, and is not used: {why[:200]!r}")
        return None

    def load(self, path: Path) -> bool:
        """What `restore` does where a file is whole. Nothing is changed before all is read."""
        with np.load(path, allow_pickle=False) as file:
            state = json.loads(str(file["state"]))
            if path != self.file and state["limit"] >= self.limit:
                return False  # it is trained again, which is what was asked for
            if state["fingerprint"] != self.fingerprint:
                print(f"{path} is of other parameters, data, code or versions, and is not used")
                return False
            if len(state["history"]) > self.limit:
                return False
            values = [file[f"variable{number}"] for number in range(len(self.variables))]
            kept, best = dict(state["early_stopping"]), state["best_weights"]
            if best is not None:
                kept["best_weights"] = [file[f"best{number}"] for number in range(best)]
        history, finished = list(state["history"]), bool(state["finished"])
        if [value.shape for value in values] != [one.shape for one in self.variables]:
            raise ValueError("its arrays have other shapes than the network's")
        for value, variable in zip(values, self.variables):
            variable.assign(value)
        self.kept, self.history, self.finished = kept, history, finished
        self.seconds = float(state.get("seconds", 0))
        return True

    def on_train_begin(self, logs=None):
        for name, value in self.kept.items():
            setattr(self.early_stopping, name, value)
        self.started = time.perf_counter() - self.seconds
        if self.extends:  # from now on it is a training of so many epochs
            self.write()

    def on_epoch_end(self, epoch, logs=None):
        self.history.append({key: float(value) for key, value in logs.items()})
        self.seconds = time.perf_counter() - self.started
        self.finished = self.model.stop_training
        self.write()

    def write(self) -> None:
        """Write the file as the training stands."""
        stopping = self.early_stopping
        best = stopping.best_weights
        state = {
            "fingerprint": self.fingerprint,
            "history": self.history,
            "finished": self.finished,
            "limit": self.limit,
            "seconds": self.seconds,
            "early_stopping": {
                "wait": stopping.wait,
                "best": float(stopping.best),
                "best_epoch": stopping.best_epoch,
                "stopped_epoch": stopping.stopped_epoch,
            },
            "best_weights": None if best is None else len(best),
        }
        arrays = {
            f"variable{number}": np.asarray(variable)
            for number, variable in enumerate(self.variables)
        }
        arrays |= {f"best{number}": weights for number, weights in enumerate(best or [])}
        with files.replacing(self.file) as partial, open(partial, "wb") as file:
            np.savez(file, state=json.dumps(state), **arrays)
            file.flush()
            os.fsync(file.fileno())  # on the disk before the name says so
