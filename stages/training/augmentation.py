"""Random augmentation of the training images by Keras layers: the section ``augment`` of
``params.yaml``.

The layers precede the network during training and are not part of the saved model. Each has its own
random generator, whose state is one of the variables that the checkpoint saves.
"""

import math
from typing import TYPE_CHECKING

from stages.params.schema import Augment
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    import keras  # at run time imported by the functions: `is_enabled` needs no Keras


def build_layers(
    augment: Augment, image_shape: tuple[int, int, int], seed: int
) -> list["keras.Layer"]:
    """Build the enabled layers for images of `image_shape` (height, width, channels). Each image is
    augmented independently.

    They compute in float32 whatever the precision of the training, since pixel values need it. The
    documents used Keras's ``ImageDataGenerator``, which combines rotation, shift, shear and zoom
    into one transform; here they are applied in sequence.
    """
    import keras

    height, width, _ = image_shape
    if augment.crop_padding >= min(height, width):
        raise UserError(
            f"params.yaml: augment.crop_padding is {augment.crop_padding}, but the images have "
            f"{height}×{width} pixels: it must be smaller than their sides"
        )
    border = {"fill_mode": augment.fill_mode}
    layers = keras.layers
    enabled = []
    # two layers: RandomFlip with both modes would draw once for both
    if augment.horizontal_flip:
        enabled.append((layers.RandomFlip, {"mode": "horizontal"}))
    if augment.vertical_flip:
        enabled.append((layers.RandomFlip, {"mode": "vertical"}))
    if augment.rotation:
        enabled.append((layers.RandomRotation, {"factor": augment.rotation / 360, **border}))
    if augment.zoom:
        factor = (-augment.zoom, augment.zoom)
        enabled.append(
            (layers.RandomZoom, {"height_factor": factor, "width_factor": factor, **border})
        )
    if augment.width_shift or augment.height_shift:
        shifts = {"height_factor": augment.height_shift, "width_factor": augment.width_shift}
        enabled.append((layers.RandomTranslation, {**shifts, **border}))
    if augment.shear:
        enabled.append(
            (layers.RandomShear, {"x_factor": math.tan(math.radians(augment.shear)), **border})
        )
    # as a shift by whole pixels, all equally likely: RandomCrop would crop all images of a batch at
    # the same position
    if augment.crop_padding:
        pixels = augment.crop_padding + 0.499
        shifts = {"height_factor": pixels / height, "width_factor": pixels / width}
        enabled.append((layers.RandomTranslation, {**shifts, "interpolation": "nearest", **border}))
    return [
        layer(**arguments, seed=seed + number, dtype="float32")
        for number, (layer, arguments) in enumerate(enabled, start=1)
    ]


def is_enabled(augment: Augment) -> bool:
    """Whether any augmentation is enabled."""
    return any(value for name, value in augment if name != "fill_mode")


def prepend_to(model: "keras.Model", augment: Augment, seed: int) -> tuple[list, list]:
    """The inputs and outputs of a network that augments images, then applies `model`, sharing its
    weights. `model` still receives uint8 images, and outside training it receives them
    unchanged."""
    if not is_enabled(augment):
        return model.inputs, model.outputs
    import keras

    from stages.training import heads

    inputs = x = keras.Input(model.input_shape[1:], dtype="uint8")
    for layer in build_layers(augment, model.input_shape[1:], seed):
        x = layer(x)
    x = keras.ops.cast(keras.ops.round(x), "uint8")
    return [inputs], heads.name_outputs(model.output_names, model(x))
