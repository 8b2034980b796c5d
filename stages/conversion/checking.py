"""Loading a trained model, and checking that a converted one gives the same predictions."""

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.runtime import processor, progress
from stages.runtime.errors import UserError
from stages.runtime.text import first_line
from stages.training import backend

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-4  # between the probabilities of two forms of a model, for rounding of large logits
# images uint8 (images, height, width, channels) → probabilities (images, classes)
Predict = Callable[[np.ndarray], np.ndarray]


def start(threads: int, instruction_set: str) -> None:
    """Import Keras with TensorFlow, whichever backend trained: all use the same .keras files."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    backend.start(threads, instruction_set)


def load(path: Path) -> "keras.Model":
    """Load the model in `path`, keeping only its main output. Raises `UserError` if Keras refuses
    the file, which may be damaged or contain code."""
    import keras

    try:
        check_size(path)
        return keep_main_output(keras.saving.load_model(path, compile=False))
    except (MemoryError, UserError):
        raise
    except Exception as error:  # of a type that depends on the file's content
        raise UserError(f"{path}: Keras cannot load it: {first_line(error)}") from None


def check_size(path: Path) -> None:
    """Raise `UserError` if loading a .keras file would take more memory for weights than the file
    has bytes: if it is compressed, which Keras never does, or its layers have more weights than it
    contains. The memory that the layers compute with is not bounded."""
    import h5py
    import keras

    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
            datasets = []
            file.visititems(
                lambda _, item: datasets.append(item) if hasattr(item, "nbytes") else None
            )
            stored = sum(dataset.size for dataset in datasets)
            size = sum(dataset.nbytes for dataset in datasets)
        unpacked = sum(member.file_size for member in archive.infolist())
    if max(unpacked, size) > path.stat().st_size:
        raise UserError(f"{path} is compressed, which files written by Keras never are")
    try:
        with keras.StatelessScope(initialize_variables=False):  # allocate no variables
            model = keras.saving.deserialize_keras_object(config | {"compile_config": None})
        parameters = model.count_params()
    finally:
        keras.utils.clear_session()  # otherwise Keras would initialise the variables later
    if parameters > stored:
        raise UserError(f"{path} contains {stored:,} weights, but its layers need {parameters:,}")


def keep_main_output(model: "keras.Model") -> "keras.Model":
    """`model` without the auxiliary heads that only training uses."""
    import keras

    return keras.Model(model.inputs, model.outputs[0], name=model.name)


def load_to_predict(path: Path) -> "keras.Model":
    """As `load`, but on a processor without AVX-512, in float32: oneDNN has no kernels for bfloat16
    there, and ends the process."""
    model = load(path)
    return model if has_bfloat16() else in_float32(model)


def has_bfloat16() -> bool:
    """Whether oneDNN, as `backend.start` limited it, computes in bfloat16."""
    narrow = os.environ.get("ONEDNN_MAX_CPU_ISA") == backend.KERNELS["avx2"]
    return not narrow and processor.has(processor.find_instruction_set(), "avx512")


def in_float32(model: "keras.Model") -> "keras.Model":
    """`model`, or if it was trained in mixed precision, a copy that computes in float32."""
    config = json.dumps(model.get_config())
    if not re.search('"mixed_b?float16"', config):
        return model
    plain = re.sub('"mixed_b?float16"', '"float32"', config)
    return rebuild(json.loads(plain), model)


def rebuild(config: dict[str, Any], model: "keras.Model") -> "keras.Model":
    """A model of `config` with the weights of `model`."""
    import keras

    rebuilt = keras.Model.from_config(config)
    rebuilt.set_weights(model.get_weights())
    for layer in rebuilt._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # update the constants it derives from its weights
    return rebuilt


def predict_in_batches(predict: Predict, images: np.ndarray, size: int) -> np.ndarray:
    """The class probabilities, float32 (images, classes), of all `images`, uint8 (images, height,
    width, channels), predicted `size` at a time."""
    return np.concatenate(
        [
            np.asarray(predict(images[start : start + size]))
            for start in progress.track(range(0, len(images), size), "predictions", "batches")
        ]
    )


def require_equal(
    what: str, predict: Predict, images: np.ndarray, expected: np.ndarray, size: int
) -> float:
    """Predict `images`, `size` at a time, and return the largest absolute difference from the
    probabilities `expected`, float (images, classes). Raises `UserError`, naming `what` predicts,
    if it exceeds `TOLERANCE`."""
    difference = float(np.abs(predict_in_batches(predict, images, size) - expected).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"{what} does not predict the same as the Keras model: probabilities differ by "
            f"{difference:.1e}"
        )
    return difference
