"""Starting Keras: with the backend's threads fixed, its operations deterministic, and its greetings
held back."""

import contextlib
import os
import sys
import tempfile


def start(threads: int) -> None:
    """Import Keras and its backend, which read these settings when they are imported.

    ``KERAS_BACKEND`` chooses the backend: tensorflow (the default), jax or torch.
    """
    os.environ |= {
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": str(threads),
        "TF_DETERMINISTIC_OPS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",  # nothing: its errors come as exceptions too
    }
    # Linux: as a batch job the threads stay on cores of their own. Measured on two cores of an AMD
    # EPYC, Linux 6.18, 8 epochs of fashion-2blocks, in turn: 24 and 23 s of training against 36 and
    # 35 s, with the same bits.
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with tempfile.TemporaryFile() as held_back:  # some of TensorFlow's messages heed no log level
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            import keras  # noqa: F401
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
