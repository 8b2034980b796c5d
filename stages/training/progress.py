"""What a training and its predictions tell of the time left. None of it changes a result."""

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

WATCHED = 5  # seconds of training that show how long the rest takes, where an epoch has as many
PAUSE = 60  # seconds between two lines, at least
SHORT = 10  # seconds: what ends by then needs no line
FORWARD = 1 / 3  # of the time of a training image: what one takes that is predicted alone, about


class TimeLeft(keras.callbacks.Callback):
    """Print how long a phase of a training will take: as soon as its first batches show it, and
    again at the end of an epoch, where a minute has passed since.

    The first call of the network is not timed, since Keras compiles in it. Nothing is done at the
    end of a batch: that would make Keras wait for the result of each.
    """

    def __init__(self, experiment: Experiment, phase: "Phase"):
        super().__init__()
        self.name = ", ".join(filter(None, (experiment.name, phase.name)))
        self.stops_early = experiment.train.early_stopping.patience is not None
        # an epoch with its validation, in batches of training
        validation = len(phase.validation.labels) / phase.batches.batch_size
        self.an_epoch = len(phase.batches) + FORWARD * validation
        self.calls = 0  # of the network
        self.timed: tuple[float, float] | None = None  # since which batch of all, and since when
        self.said: float | None = None  # when

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        done, now = self.epoch * self.an_epoch + batch, time.perf_counter()
        self.calls += 1
        if self.calls == 2:
            self.timed = done, now
        elif self.timed and self.said is None and now - self.timed[1] >= WATCHED:
            self.say(done, now)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now = time.perf_counter()
        if self.timed and (self.said is None or now - self.said >= PAUSE):
            self.say((epoch + 1) * self.an_epoch, now)

    def say(self, done: float, now: float) -> None:
        """Print what is left behind the batches that are `done`, by how long these took."""
        begin, since = self.timed
        left = self.params["epochs"] * self.an_epoch - done
        seconds = left * (now - since) / (done - begin)
        if seconds < SHORT:
            return
        self.said = now
        print(
            f"{progress.clear_line(sys.stdout)}{self.name}: about {progress.format_time(seconds)} "
            f"left{', less if it stops early' if self.stops_early else ''}",
            flush=True,
        )


@contextmanager
def show_prediction(part: str, batches: int) -> Iterator[keras.callbacks.Callback]:
    """A callback that shows how far the prediction of a part has come, in a bar."""
    with progress.track(None, f"predictions of the {part} set", "batches", batches) as bar:
        yield keras.callbacks.LambdaCallback(
            on_predict_batch_begin=lambda batch, logs=None: bar.update(batch - bar.n)
        )
