"""The architectures: one module a family, whose function `network` applies the family's layers;
every number is an argument.

``params.yaml`` names the family and gives its arguments under ``architectures``. To add a family: a
module here, and its arguments in `stages.params.families`. A family whose weights depend on the
training images before training has a function `adapt` too.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.runtime.errors import UserError

CLASSIFIER = "probability"  # the layer that gives the main output
OUTPUTS = (
    CLASSIFIER,
    "auxiliary1",
    "auxiliary2",
)  # of a network: the main one, and auxiliary heads where a family has them


def build(
    name: str, family: str, arguments: Mapping[str, Any], data: Mapping[str, Any]
) -> keras.Model:
    """The network `name`: images uint8 (batch, height, width, channels) → class probabilities
    float32 (batch, classes).

    Its first layer normalises the pixels with the constants in `data` (the ``data.json`` of
    preprocess), or as pre-trained weights expect them, so that the model takes images as they are.
    A family that returns a list of
    features gives a model with a list of outputs, the main one first. Raises `UserError` with
    Keras's reason where the layers cannot be built, as for images too small.
    """
    shape = data["image_shape"]
    inputs = keras.Input(shape, dtype="uint8", name="image")
    try:
        module = import_module(f"stages.architectures.{family}")
        if arguments.get("weights"):  # of a network that was trained with pixels of its own kind
            x = module.normalise(inputs, arguments["network"])
        else:
            x = keras.layers.Rescaling(
                *(shorten(data["rescaling"][key]) for key in ("scale", "offset"))
            )(inputs)
        features = module.network(x, **arguments)
        outputs = [
            add_classifier(x, output, len(data["class_names"]))
            for output, x in zip(OUTPUTS, features if isinstance(features, list) else [features])
        ]
    except UserError as error:
        raise UserError(
            f"architectures.{name}.{error}\n       Images have {shape[0]}×{shape[1]} pixels"
        ) from None
    except (ValueError, TypeError) as error:
        raise UserError(
            f"architectures.{name}: Keras cannot build it for images of {shape[0]}×{shape[1]} "
            f"pixels: {explain(error)}\n"
            "       Change its layers, or preprocess.image_size if the images are too small"
        ) from None
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=name)


def adapt(
    model: keras.Model, family: str, arguments: Mapping[str, Any], images: np.ndarray
) -> None:
    """Set what the family computes from the training images, uint8 (images, height, width,
    channels), before training starts."""
    module = import_module(f"stages.architectures.{family}")
    if hasattr(module, "adapt"):
        module.adapt(model, images, **arguments)


def load(
    model: keras.Model, name: str, family: str, arguments: Mapping[str, Any], file: Path
) -> None:
    """Set the pre-trained weights of `model`, the network `name`, from a file. Raises `UserError`
    for weights of another network."""
    module = import_module(f"stages.architectures.{family}")
    try:
        module.load(model, file, arguments["network"], arguments["top"])
    except UserError as error:
        raise UserError(
            f"params.yaml: architectures.{name}.weights: {arguments['weights']}: {error}"
        ) from None


def add_classifier(x, name: str, classes: int):
    """Probabilities of `classes`, float32 under any dtype policy, from features
    (batch, features)."""
    if len(x.shape) != 2 or x.shape[1] == 0:
        raise ValueError(
            f"its layers end with the shape {x.shape[1:]}; one axis is needed: end with Flatten or "
            "GlobalAveragePooling2D"
        )
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name=name)(x)


def shorten(values: list[float]) -> float | list[float]:
    """One number where all channels have the same, which is how a layer is written by hand."""
    return values[0] if len(set(values)) == 1 else values


def explain(error: Exception) -> str:
    """What is wrong, in one line: without the frame and the colours that Keras puts around an error
    in a layer's call."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()
    return next(
        (line for line in lines if line and not line.startswith("Exception encountered")),
        type(error).__name__,
    )
