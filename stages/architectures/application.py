"""Family application: any network of ``keras.applications`` by name, with random weights or with
pre-trained ones.

With pre-trained weights the network gets its pixels as it was trained with them: `normalise` puts
Keras's ``preprocess_input`` of that network in front of it, as layers. With random weights
``preprocess.normalisation`` decides; some networks normalise the pixels themselves and expect
0..255, as their Keras pages say: ``preprocess.normalisation: none`` then.
"""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.params.names import snake_case
from stages.runtime.errors import UserError
from stages.storage import hdf5

POOLING = {"global_average_pooling": "avg", "global_max_pooling": "max", "flatten": None}
# Means and standard deviations of ImageNet's images, red, green, blue, of pixels 0..1
MEANS = np.array([0.485, 0.456, 0.406])
DEVIATIONS = np.array([0.229, 0.224, 0.225])
# What ``preprocess_input`` does to the pixels, by the network; the others expect 0..255
BLUE_FIRST = r"ResNet\d+|VGG\d+"  # channels in reverse order, minus their means: mode "caffe"
STANDARD = r"DenseNet\d+"  # by the means and deviations: mode "torch"
SYMMETRIC = r"ResNet\d+V2|MobileNet(V2)?|Inception.*|NASNet.*|Xception"  # -1..1: mode "tf"


def network(x, network: str, top: str, arguments: dict[str, Any], weights: str | None = None):
    """`x` (batch, height, width, channels) → features (batch, features). `top` is what stands
    between the convolutions and the classifier: the network's own layers, or one of `POOLING`.
    `load` sets the weights where these are pre-trained."""
    function = getattr(keras.applications, network)
    place = {"weights": None, "input_tensor": x, "input_shape": x.shape[1:]}
    if top != "own":
        return flatten(
            function(include_top=False, pooling=POOLING[top], **place, **arguments).output
        )
    whole = function(include_top=True, classes=1, **place, **arguments)
    classifier = next(
        layer
        for layer in reversed(whole.layers)
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)
    )
    return flatten(classifier.input)


def flatten(x):
    """(batch, …) → (batch, features)."""
    return x if len(x.shape) == 2 else keras.layers.Flatten()(x)


def normalise(x, network: str):
    """Pixels 0..255, red, green, blue (batch, height, width, 3), as the pre-trained `network`
    expects them: what ``preprocess_input`` of its module in keras.applications computes."""
    if x.shape[-1] != 3:
        raise UserError(
            "weights: pre-trained networks take colour images: set preprocess.channels to 3"
        )
    if re.fullmatch(BLUE_FIRST, network):
        x = keras.ops.flip(x, axis=-1)
        return keras.layers.Rescaling(1.0, [-103.939, -116.779, -123.68])(x)
    if re.fullmatch(STANDARD, network):
        scale = 1 / (255 * DEVIATIONS)
        return keras.layers.Rescaling(scale.tolist(), (-MEANS / DEVIATIONS).tolist())(x)
    if re.fullmatch(SYMMETRIC, network):
        return keras.layers.Rescaling(1 / 127.5, -1.0)(x)
    return keras.layers.Rescaling(1.0)(x)


def load(model: keras.Model, file: Path, network: str, top: str) -> None:
    """Set the weights of all layers of `model` but the classifier to those in `file`, which hold a
    classifier of their own where `top` is own. Raises `UserError` for weights of another
    network."""
    layers = [layer for layer in model.layers if layer.weights and layer.name != "probability"]
    wanted = [
        (snake_case(type(layer).__name__), [tuple(one.shape) for one in list_weights(layer)])
        for layer in layers
    ]
    if top == "own":
        convolution = re.fullmatch(r"MobileNet(V3.*)?", network)
        wanted.append(("conv2d" if convolution else "dense", None))
    for layer, values in zip(layers, hdf5.read(file, wanted)):
        # Keras's files of EfficientNetB have deviations in place of variances, which Keras mends
        # where it fetches them itself (https://github.com/tensorflow/tensorflow/issues/49930)
        if isinstance(layer, keras.layers.Normalization) and has_deviations(values):
            values[1] = values[1] * DEVIATIONS
        for variable, value in zip(list_weights(layer), values):
            variable.assign(value)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def has_deviations(values: list[np.ndarray]) -> bool:
    """Whether a normalisation's mean, variance and count have deviations in the variance's
    place."""
    return np.size(values[1]) == 3 and np.allclose(np.ravel(values[1]), DEVIATIONS, atol=1e-4)


def list_weights(layer: keras.Layer) -> list[keras.Variable]:
    """A layer's weights in the order in which Keras saves them."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]
