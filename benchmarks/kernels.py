#!/usr/bin/env python3
"""Where the time of a training epoch goes, by kind of TensorFlow operation, to see what could be
made faster.

usage: python benchmarks/kernels.py [NETWORK ...]      (default: the five networks of throughput.py)

Trains each by `stages.training.fitting.train_network` on random images and has TensorFlow's
profiler record the batches of the second epoch. One operation runs at a time, on two threads, so
that times can be added (a training runs two at a time); the time between operations is everything
else: Python, reading batches, waiting. Writes ``results/kernels.json`` and ``kernels.md``."""

import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from machine import described, in_words, write, write_prepared
from throughput import NETWORKS

from stages.replications import options
from stages.storage.prepared import Prepared
from stages.training import backend, heads
from stages.training.experiment import Experiment

EPOCHS = 2
# what an operation's name starts with, in TensorFlow's words, less the mark of oneDNN's own
KINDS = {
    "convolutions and dense layers": ("Conv2D", "FusedConv2D", "MatMul", "FusedMatMul"),
    "pooling": ("MaxPool", "AvgPool"),
}
MARK = re.compile("_?(MklNative|Mkl)?")
CONTAINERS = (
    "While",
    "StatelessWhile",
    "PartitionedCall",
    "StatefulPartitionedCall",
    "If",
    "IteratorGetNext",
)  # of others
OTHERS = "activations, batch norm, optimizer, other arithmetic"
FIT = heads.MultiHeadModel.fit


def operations(trace: Path) -> Counter:
    """Seconds of each kind of operation in a trace of TensorFlow's profiler."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    (file,) = trace.rglob("*.xplane.pb")
    found: Counter = Counter()
    for plane in XSpace.FromString(file.read_bytes()).planes:
        if plane.name != "/host:CPU":
            continue
        for line in plane.lines:
            for event in line.events:
                name, colon, operation = plane.event_metadata[event.metadata_id].name.rpartition(
                    ":"
                )
                if colon and "/" in name and operation.lstrip("_").isidentifier():
                    found[operation] += event.duration_ps / 1e12
    return found


def profiled(network: str) -> dict:
    """Seconds of the batches of the last epoch, and of each kind of operation in them."""
    import keras
    import tensorflow as tf

    from stages.training import fitting
    from stages.training.network import build_network

    experiment, shape, classes, images, validation, prediction = NETWORKS[network]
    root, replications = options.load()
    entry = replications.experiments[experiment]
    update = {"epochs": EPOCHS, "prediction_batch_size": prediction}
    recipe = options.complete_train(replications.common, entry).model_copy(update=update)
    spent = []
    with tempfile.TemporaryDirectory() as temporary:
        folder, trace = Path(temporary) / "prepared", Path(temporary) / "trace"
        write_prepared(folder, shape, classes, train=images, validation=validation)

        class Profiler(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == EPOCHS - 1:
                    tf.profiler.experimental.start(str(trace))
                    spent.append(time.perf_counter())

            def on_test_begin(self, logs=None):
                if spent:
                    spent.append(time.perf_counter())
                    tf.profiler.experimental.stop()

        def with_profiler(self, *arguments, callbacks, **others):
            return FIT(self, *arguments, callbacks=[Profiler(), *callbacks], **others)

        heads.MultiHeadModel.fit = with_profiler
        one = Experiment(
            network, 1, root.architectures[entry.architecture], replications.common.augment, recipe
        )
        data, checkpoint = Prepared(folder), Path(temporary) / "checkpoint.npz"
        fitting.train_network(one, build_network(one, data), data, Path(temporary), checkpoint)
        found = operations(trace)
    return {
        "images": images,
        "seconds": round(spent[1] - spent[0], 4),
        "operations": {name: round(seconds, 4) for name, seconds in found.most_common()},
    }


def shares(measured: dict) -> dict[str, float]:
    """Of the epoch's seconds, by kind."""
    kinds: Counter = Counter()
    for operation, seconds in measured["operations"].items():
        name = MARK.sub("", operation, count=1)
        if name not in CONTAINERS:
            kinds[
                next((kind for kind, names in KINDS.items() if name.startswith(names)), OTHERS)
            ] += seconds / measured["seconds"]
    kinds["between operations"] = 1 - kinds.total()
    return dict(kinds)


def main() -> None:
    backend.OPERATIONS_AT_A_TIME = 1
    backend.start(2)
    networks = {network: profiled(network) for network in sys.argv[1:] or NETWORKS}
    content = {"machine": described("keras", "tensorflow"), "networks": networks}
    columns = {network: shares(measured) for network, measured in networks.items()}
    lines = [
        "Share of an epoch's seconds, without validation; n = 1, with the profiler running. "
        f"{in_words(content['machine'])}.",
        "",
    ]
    lines += [f"| | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for kind in [*KINDS, OTHERS, "between operations"]:
        lines.append(
            f"| {kind} | {' | '.join(f'{column.get(kind, 0):.0%}' for column in columns.values())} "
            "|"
        )
    write("kernels", content, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
