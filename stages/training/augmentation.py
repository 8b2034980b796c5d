"""Random changes to the training images, by Keras's layers: the section ``augment`` of
``params.yaml``.

They stand before the network while it trains and are no part of the saved model. Each draws from a
generator of its own, whose state is among the variables that the checkpoint keeps.
"""

import math
from typing import TYPE_CHECKING

from stages.params.schema import Augment
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    import keras  # the functions import it themselves: to know that nothing is on needs no Keras


def build_layers(
    augment: Augment, image_shape: tuple[int, int, int], seed: int
) -> list["keras.Layer"]:
    """The layers that are on, for images of `image_shape` (height, width, channels); each image is
    changed by itself.

    They compute in float32 whatever the precision of the training, since whole pixel values need
    it. The documents used Keras's ``ImageDataGenerator``, which makes one change of rotation,
    shift, shear and zoom; here they follow each other.
    """
    import keras

    height, width, _ = image_shape
    if augment.crop_padding >= min(height, width):
        raise UserError(
            f"params.yaml: augment.crop_padding is {augment.crop_padding}, and the images have "
            f"{height}×{width} pixels: it must be "
            "smaller than their sides"
        )
    border = {"fill_mode": augment.fill_mode}
    make = keras.layers
    on = []
    # each by itself: RandomFlip with both would draw once for both
    if augment.horizontal_flip:
        on.append((make.RandomFlip, {"mode": "horizontal"}))
    if augment.vertical_flip:
        on.append((make.RandomFlip, {"mode": "vertical"}))
    if augment.rotation:
        on.append((make.RandomRotation, {"factor": augment.rotation / 360, **border}))
    if augment.zoom:
        factor = (-augment.zoom, augment.zoom)
        on.append((make.RandomZoom, {"height_factor": factor, "width_factor": factor, **border}))
    if augment.width_shift or augment.height_shift:
        shifts = {"height_factor": augment.height_shift, "width_factor": augment.width_shift}
        on.append((make.RandomTranslation, {**shifts, **border}))
    if augment.shear:
        on.append((make.RandomShear, {"x_factor": math.tan(math.radians(augment.shear)), **border}))
    # as a shift by whole pixels, all equally likely: RandomCrop would crop a whole batch at one
    # place
    if augment.crop_padding:
        pixels = augment.crop_padding + 0.499
        shifts = {"height_factor": pixels / height, "width_factor": pixels / width}
        on.append((make.RandomTranslation, {**shifts, "interpolation": "nearest", **border}))
    return [
        layer(**arguments, seed=seed + number, dtype="float32")
        for number, (layer, arguments) in enumerate(on, start=1)
    ]


def is_on(augment: Augment) -> bool:
    """Whether any of it is on."""
    return any(value for name, value in augment if name != "fill_mode")


def put_in_front_of(model: "keras.Model", augment: Augment, seed: int) -> tuple[list, list]:
    """The inputs and outputs of a network that changes the images while it trains, then is `model`,
    whose weights it shares. What `model` is given stays uint8; outside training it is given the
    images as they are."""
    if not is_on(augment):
        return model.inputs, model.outputs
    import keras

    from stages.training import heads

    inputs = x = keras.Input(model.input_shape[1:], dtype="uint8")
    for layer in build_layers(augment, model.input_shape[1:], seed):
        x = layer(x)
    x = keras.ops.cast(keras.ops.round(x), "uint8")
    return [inputs], heads.name_outputs(model.output_names, model(x))
