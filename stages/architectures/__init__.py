"""The architectures: one module per family, whose function `network` applies the family's layers.

``params.yaml`` names the family and its arguments under ``architectures``; no number is hard-coded.
To add a family, add a module here and its arguments in `stages.params.families`. A family that
computes initial weights from the training images also has a function `adapt`.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.runtime.errors import UserError

CLASSIFIER = "probability"  # the layer whose output is the main one
# the output layers of a network: the main one, then auxiliary heads if the family has any
OUTPUTS = (CLASSIFIER, "auxiliary1", "auxiliary2")


def build(
    name: str, family: str, arguments: Mapping[str, Any], data: Mapping[str, Any]
) -> keras.Model:
    """Build the network `name`: images, uint8 (batch, height, width, channels) → class
    probabilities, float32 (batch, classes).

    Its first layers normalise the pixels, with the constants in `data` (the ``data.json`` of the
    stage preprocess) or as the pre-trained weights expect, so the model takes raw pixels. If the
    family returns a list of features, the model has a list of outputs, the main one first. Raises
    `UserError` with Keras's reason if the layers cannot be built, for example on too small images.
    """
    shape = data["image_shape"]
    inputs = keras.Input(shape, dtype="uint8", name="image")
    try:
        module = import_module(f"stages.architectures.{family}")
        if arguments.get("weights"):  # pre-trained with a normalisation of its own
            x = module.normalise(inputs, arguments["network"])
        else:
            x = keras.layers.Rescaling(
                *(collapse(data["rescaling"][key]) for key in ("scale", "offset"))
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
    """Set the initial weights that the family computes from the training `images`, uint8 (images,
    height, width, channels), if it computes any."""
    module = import_module(f"stages.architectures.{family}")
    if hasattr(module, "adapt"):
        module.adapt(model, images, **arguments)


def load(
    model: keras.Model, name: str, family: str, arguments: Mapping[str, Any], file: Path
) -> None:
    """Load the pre-trained weights in `file` into `model`, the network `name`. Raises `UserError`
    if they belong to another network."""
    module = import_module(f"stages.architectures.{family}")
    try:
        module.load(model, file, arguments["network"], arguments["top"])
    except UserError as error:
        raise UserError(
            f"params.yaml: architectures.{name}.weights: {arguments['weights']}: {error}"
        ) from None


def add_classifier(x, name: str, classes: int):
    """Add a softmax over `classes` to features (batch, features); float32 under any dtype
    policy."""
    if len(x.shape) != 2 or x.shape[1] == 0:
        raise ValueError(
            f"the shape of its last layer is {x.shape[1:]}, and the classifier needs one axis: end "
            "with Flatten or GlobalAveragePooling2D"
        )
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name=name)(x)


def collapse(values: list[float]) -> float | list[float]:
    """A single number if all channels share it, as one would write the layer by hand."""
    return values[0] if len(set(values)) == 1 else values


def explain(error: Exception) -> str:
    """The message of `error` in one line, without the banner and colours that Keras adds to an
    error in a layer's call."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()
    return next(
        (line for line in lines if line and not line.startswith("Exception encountered")),
        type(error).__name__,
    )
