"""A network in an ONNX file, run by ONNX Runtime on the processor: without Keras, in a tenth of its
time to start."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.conversion.checking import Predict
from stages.runtime.errors import UserError
from stages.runtime.text import first_line

if TYPE_CHECKING:
    import onnxruntime

# else it writes an identifier and a database for its maker's telemetry into the user's home
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
SILENT = 3  # errors alone: what is no error, such as a missing GPU, is nobody's concern here


def open_session(path: Path, threads: int) -> "onnxruntime.InferenceSession":
    """The network in the file at `path`. Its threads sleep while there is nothing to compute, so
    that images are decoded meanwhile. Raises `UserError` where ONNX Runtime refuses the file."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(SILENT)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # what a file holds decides which
        raise UserError(f"{path}: ONNX Runtime cannot load it: {first_line(error)}") from None


def make_predict(session: "onnxruntime.InferenceSession") -> Predict:
    """What the network predicts, of images uint8 (images, height, width, channels)."""
    return lambda images: session.run(["probability"], {"image": np.ascontiguousarray(images)})[0]
