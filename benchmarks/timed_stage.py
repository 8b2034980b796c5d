"""A stage as `python -m stages.NAME …` runs it, timed by cause; `overhead.py` puts this in the
place of `python`.

usage: timed_stage.py LOG -m stages.NAME [ARGUMENT ...]
"""

import atexit
import json
import runpy
import sys
import time
from collections import Counter

import psutil

STARTED = psutil.Process().create_time()
seconds: Counter = Counter()
running: list[str] = []


def timed(owner, name: str, cause: str) -> None:
    """Count the seconds of a function of `owner` as those of `cause`, and not as those of the cause
    around it."""
    original = getattr(owner, name)

    def call(*arguments, **options):
        begin = time.perf_counter()
        running.append(cause)
        try:
            return original(*arguments, **options)
        finally:
            running.pop()
            spent = time.perf_counter() - begin
            seconds[cause] += spent
            if running:
                seconds[running[-1]] -= spent

    setattr(owner, name, call)


def watch() -> None:
    """Wrap what a training spends its time on, once Keras is imported."""
    from stages.training import backend

    timed(backend, "start", "import of TensorFlow and Keras")
    start = backend.start

    def start_and_watch(*settings: object) -> None:
        start(*settings)
        import keras

        from stages import architectures
        from stages.training import checkpoint, saving

        timed(architectures, "build", "building the network")
        timed(keras.Model, "fit", "fit: training")
        timed(keras.Model, "evaluate", "fit: validation")
        timed(checkpoint.Checkpoint, "on_epoch_end", "checkpoints")
        timed(saving, "save", "saving the model")
        timed(keras.saving, "load_model", "reading it back")
        timed(keras.Model, "predict", "predicting")

    backend.start = start_and_watch


def report() -> None:
    record = {
        "stage": sys.argv[0],
        "arguments": sys.argv[1:],
        "seconds": time.time() - STARTED,
        "causes": seconds,
    }
    with open(log, "a") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    log, _, module, *rest = sys.argv[1:]
    sys.path[0] = ""
    sys.argv = [module, *rest]
    atexit.register(report)
    watch()
    seconds["Python's start, reading parameters"] = time.time() - STARTED
    runpy.run_module(module, run_name="__main__", alter_sys=True)
