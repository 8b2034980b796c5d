"""Progress of a training and its predictions: the time left. None of it changes a result."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras

from stages.runtime import progress
from stages.training.experiment import Experiment

if TYPE_CHECKING:
    from stages.training.fitting import Phase

WATCHED = 5  # seconds of training to time before the first estimate within an epoch
PAUSE = 60  # minimum seconds between two lines
SHORT = 10  # seconds; less time left is not printed
FORWARD = 1 / 3  # approximate time to predict an image, relative to training on it


class TimeLeft(keras.callbacks.Callback):
    """Print an estimate of the time left in a phase of a training: as soon as its first batches
    allow one, and again at the end of an epoch if a minute has passed.

    The first call of the network is not timed, since Keras compiles during it. There is no hook at
    the end of a batch, which would make Keras wait for each result.
    """

    def __init__(self, experiment: Experiment, phase: "Phase"):
        super().__init__()
        self.name = ", ".join(filter(None, (experiment.name, phase.name)))
        self.stops_early = experiment.train.early_stopping.patience is not None
        # the cost of an epoch with its validation, in training batches
        validation = len(phase.validation.labels) / phase.batches.batch_size
        self.epoch_cost = len(phase.batches) + FORWARD * validation
        self.calls = 0  # of the network
        self.timed_from: tuple[float, float] | None = None  # batches done, and the time
        self.printed_at: float | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        done, now = self.epoch * self.epoch_cost + batch, time.perf_counter()
        self.calls += 1
        if self.calls == 2:
            self.timed_from = done, now
        elif self.timed_from and self.printed_at is None and now - self.timed_from[1] >= WATCHED:
            self.print_estimate(done, now)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.perf_counter()
        if self.timed_from and (self.printed_at is None or now - self.printed_at >= PAUSE):
            self.print_estimate((epoch + 1) * self.epoch_cost, now)

    def print_estimate(self, done: float, now: float) -> None:
        """Print the time left, extrapolated from the batches `done` since timing started."""
        done_before, started = self.timed_from
        left = self.params["epochs"] * self.epoch_cost - done
        seconds = left * (now - started) / (done - done_before)
        if seconds < SHORT:
            return
        self.printed_at = now
        print(
            f"{progress.clear_line(sys.stdout)}{self.name}: about {progress.format_time(seconds)} "
            f"left{', less if it stops early' if self.stops_early else ''}",
            flush=True,
        )


@contextmanager
def show_prediction(part: str, batches: int) -> Iterator[keras.callbacks.Callback]:
    """A callback that shows the progress of predicting a part in a bar."""
    with progress.track(None, f"predictions of the {part} set", "batches", batches) as bar:
        yield keras.callbacks.LambdaCallback(
            on_predict_batch_begin=lambda batch, logs=None: bar.update(batch - bar.n)
        )
