"""Checkpoints: after each epoch, one file saves everything that the rest of a training depends on.

A training that resumes from it ends with the same bits as one that was never interrupted. Keras's
`BackupAndRestore` and ``.keras`` files do not achieve that: they omit the state of early stopping
and of dropout's random generators.
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
    """Keras's EarlyStopping, with a choice of when to restore the best weights: always, only
    when_stopped early, or never.

    Keras 3 also restores them at the epoch limit (always); TensorFlow 2.6, which the documents
    used, only after stopping early.
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
    """The outcome of the phases so far, from which the next one continues."""

    history: list[dict[str, float]] = field(default_factory=list)  # the logs of each epoch
    stopping_state: dict[str, Any] = field(default_factory=dict)  # attributes of `EarlyStopping`
    seconds: float = 0.0  # taken so far


class Checkpoint(keras.callbacks.Callback):
    """Save the state of a training to `file` after each epoch, and resume from it if it matches.

    It matches if its `fingerprint` is equal: a text that changes with anything that the result
    depends on. Place this callback after `early_stopping`, whose state it saves. The training
    continues after the epochs in `past`, and ends at the epoch `limit` at the latest. `history` has
    a dict of logs per completed epoch; `seconds` is the time these took, those of `past` and before
    interruptions included.

    The final state of a finished training may lie beside `file` (`locate_finished`): one that
    differs only in having more epochs resumes from it.
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
        self.extends_finished = False  # whether it resumes a finished one of fewer epochs
        self.finished = False  # whether early stopping has ended the training
        self.stopping_state: dict[str, Any] = {**past.stopping_state}

    def restore(self) -> Path | None:
        """Load the state of this training, or else of a finished one with fewer epochs. Returns the
        file; None if there is none, or it is damaged or from another training."""
        for file in (self.file, locate_finished(self.file)):
            try:
                if self.load(file):
                    self.extends_finished = file != self.file
                    return file
            except FileNotFoundError:
                continue
            except (MemoryError, PermissionError):
                raise  # the file may be good
            except Exception as error:  # a truncated or overwritten file may raise anything
                reason = str(error) or type(error).__name__
                print(f"{file} is damaged and is ignored: {reason[:200]!r}")
        return None

    def load(self, path: Path) -> bool:
        """Load the state in `path` if it matches; return whether it did. All of it is read before
        anything is changed."""
        with np.load(path, allow_pickle=False) as file:
            state = json.loads(str(file["state"]))
            if path != self.file and state["limit"] >= self.limit:
                return False  # no more epochs than it had: to train again was asked for
            if state["fingerprint"] != self.fingerprint:
                print(
                    f"{path} was written with other parameters, data, code or versions, and is "
                    "ignored"
                )
                return False
            if len(state["history"]) > self.limit:
                return False
            values = [file[f"variable{number}"] for number in range(len(self.variables))]
            stopping_state, best = dict(state["early_stopping"]), state["best_weights"]
            if best is not None:
                stopping_state["best_weights"] = [file[f"best{number}"] for number in range(best)]
        history, finished = list(state["history"]), bool(state["finished"])
        if [value.shape for value in values] != [variable.shape for variable in self.variables]:
            raise ValueError("the shapes of its arrays differ from the network's")
        for value, variable in zip(values, self.variables):
            variable.assign(value)
        self.stopping_state, self.history, self.finished = stopping_state, history, finished
        self.seconds = float(state["seconds"])
        return True

    def on_train_begin(self, logs=None):
        for name, value in self.stopping_state.items():
            setattr(self.early_stopping, name, value)
        self.started = time.perf_counter() - self.seconds
        if self.extends_finished:  # record the new limit, in a file of its own
            self.write()

    def on_epoch_end(self, epoch, logs=None):
        self.history.append({key: float(value) for key, value in logs.items()})
        self.seconds = time.perf_counter() - self.started
        self.finished = self.model.stop_training
        self.write()

    def write(self) -> None:
        """Write the current state of the training."""
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
            os.fsync(file.fileno())  # on disk before the file gets its name
