"""Load a trained model, and check that another form of it predicts alike."""

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import first_line
from stages.training import backend

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-4  # between the probabilities of two forms of a model: rounding of large logits
BATCH = 250  # images that are predicted at a time
# images uint8 (images, height, width, channels) → probabilities (images, classes)
Predict = Callable[[np.ndarray], np.ndarray]


def start(threads: int, instruction_set: str) -> None:
    """Import Keras on TensorFlow, whichever backend trained: a .keras file is the same for all."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    backend.start(threads, instruction_set)


def load(path: Path) -> "keras.Model":
    """The model in `path` with its main output alone. Raises `UserError` where Keras refuses the
    file: it may be damaged, or hold code."""
    import keras

    try:
        refuse_larger(path)
        return keep_main_output(keras.saving.load_model(path, compile=False))
    except (MemoryError, UserError):
        raise
    except Exception as error:  # what a file holds decides which
        raise UserError(f"{path}: Keras cannot load it: {first_line(error)}") from None


def refuse_larger(path: Path) -> None:
    """Raise `UserError` where the weights of a .keras file would take more memory than the file has
    bytes, before they take it: where they are compressed, which Keras's own never are, or where its
    layers have more values than it holds. What the layers compute is not bounded."""
    import h5py
    import keras

    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
            datasets = []
            file.visititems(lambda _, one: datasets.append(one) if hasattr(one, "nbytes") else None)
            stored, size = sum(one.size for one in datasets), sum(one.nbytes for one in datasets)
        unpacked = sum(member.file_size for member in archive.infolist())
    if max(unpacked, size) > path.stat().st_size:
        raise UserError(f"{path} is compressed, which Keras's files never are")
    try:
        with keras.StatelessScope(initialize_variables=False):  # no variable is given values
            model = keras.saving.deserialize_keras_object(config | {"compile_config": None})
        values = model.count_params()
    finally:
        keras.utils.clear_session()  # which else would give the variables values later on
    if values > stored:
        raise UserError(f"{path} holds {stored:,} values, and its layers have {values:,}")


def keep_main_output(model: "keras.Model") -> "keras.Model":
    """`model` without the auxiliary heads that only training uses."""
    import keras

    return keras.Model(model.inputs, model.outputs[0], name=model.name)


def in_float32(model: "keras.Model") -> "keras.Model":
    """The model itself, or, where it was trained in a mixed precision, one with its weights that
    computes in float32."""
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
            layer.finalize_state()  # it computes with constants, made from its weights
    return rebuilt


def predict_in_batches(predict: Predict, images: np.ndarray) -> np.ndarray:
    """The probabilities of all `images`, predicted `BATCH` at a time."""
    return np.concatenate(
        [
            np.asarray(predict(images[first : first + BATCH]))
            for first in progress.track(range(0, len(images), BATCH), "predictions", "batches")
        ]
    )


def require_equal(what: str, predict: Predict, images: np.ndarray, expected: np.ndarray) -> float:
    """The greatest difference of a probability from `expected`, float (images, classes). Raises
    `UserError` above `TOLERANCE`."""
    difference = float(np.abs(predict_in_batches(predict, images) - expected).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"{what} does not predict the same as the Keras model: probabilities differ by "
            f"{difference:.1e}"
        )
    return difference
