"""Running an ONNX file with ONNX Runtime on the CPU, without Keras: it starts in a tenth of the
time."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.conversion.checking import Predict
from stages.runtime.errors import UserError
from stages.runtime.text import first_line

if TYPE_CHECKING:
    import onnxruntime

# otherwise it writes an identifier and a database for telemetry into the user's home folder
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
ERROR = 3  # ONNX Runtime's severity: log no warnings, such as about a missing GPU


def open_session(path: Path, threads: int) -> "onnxruntime.InferenceSession":
    """Load the network in `path`. Its threads sleep when idle, which leaves the cores to decoding
    images. Raises `UserError` if ONNX Runtime cannot load the file."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(ERROR)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # of a type that depends on the file's content
        raise UserError(f"{path}: ONNX Runtime cannot load it: {first_line(error)}") from None


def make_predict(session: "onnxruntime.InferenceSession") -> Predict:
    """A function from images, uint8 (images, height, width, channels), to the network's
    predictions."""
    return lambda images: session.run(["probability"], {"image": np.ascontiguousarray(images)})[0]
