"""Importing Keras: without the user's configuration, in silence, and no more than is used."""

import contextlib
import gc
import os
import sys
import tempfile


@contextlib.contextmanager
def deferred_messages():
    """Hold back standard error, and show it only after an exception: some of TensorFlow's messages
    ignore the log level."""
    with (  # on Linux, in memory: a machine that only predicts may have no temporary folder
        os.fdopen(os.memfd_create("messages"), "w+b")
        if hasattr(os, "memfd_create")
        else tempfile.TemporaryFile()
    ) as held_back:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def isolated_keras_home():
    """Prevent Keras from reading the user's ``keras.json`` on import, or writing one if there is
    none: under this path it can do neither."""
    os.environ["KERAS_HOME"] = os.path.join(os.devnull, "keras")
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]


@contextlib.contextmanager
def blocked_imports(*packages: str):
    """Prevent Keras from importing the optional `packages`: they serve its image galleries and
    wrappers, which are not used here, and would take a third of its start-up time."""
    blocked = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(blocked))  # importing a name mapped to None: ImportError
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]


@contextlib.contextmanager
def without_garbage_collection():
    """Exclude imported objects from garbage collection, since they live until the process ends:
    traversing them takes a fifth of Keras's start-up time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # exclude them from later collections too
        if enabled:
            gc.enable()
