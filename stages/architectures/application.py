"""Family application: any network of ``keras.applications`` by name, with random or pre-trained
weights.

With pre-trained weights, `normalise` prepends the network's ``preprocess_input`` as layers, so that
it gets pixels as in its own training. With random weights, ``preprocess.normalisation`` decides;
set it to none for networks that normalise pixels themselves and expect 0..255, as their Keras pages
say.
"""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.architectures import CLASSIFIER
from stages.params.names import convert_to_snake_case
from stages.runtime.errors import UserError
from stages.storage import hdf5

POOLING = {"global_average_pooling": "avg", "global_max_pooling": "max", "flatten": None}
# ImageNet's means and standard deviations of pixels 0..1: red, green, blue
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])
# Networks by the mode of their ``preprocess_input``; all others expect 0..255
CAFFE_MODE = r"ResNet\d+|VGG\d+"  # blue, green, red, minus their means
TORCH_MODE = r"DenseNet\d+"  # standardised by IMAGENET_MEAN and IMAGENET_STD
TF_MODE = r"ResNet\d+V2|MobileNet(V2)?|Inception.*|NASNet.*|Xception"  # -1..1


def network(x, network: str, top: str, arguments: dict[str, Any], weights: str | None = None):
    """`x` (batch, height, width, channels) → features (batch, features). `top` says what connects
    the convolutions to the classifier: the network's own layers, or one of `POOLING`. Pre-trained
    weights are set later, by `load`."""
    function = getattr(keras.applications, network)
    common = {"weights": None, "input_tensor": x, "input_shape": x.shape[1:]}
    if top != "own":
        return flatten(
            function(include_top=False, pooling=POOLING[top], **common, **arguments).output
        )
    whole = function(include_top=True, classes=1, **common, **arguments)
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
    """Normalise RGB pixels 0..255 (batch, height, width, 3) as the pre-trained `network` expects,
    like the ``preprocess_input`` of its module in ``keras.applications``."""
    if x.shape[-1] != 3:
        raise UserError(
            "weights: pre-trained networks need colour images: set preprocess.channels to 3"
        )
    if re.fullmatch(CAFFE_MODE, network):
        x = keras.ops.flip(x, axis=-1)
        return keras.layers.Rescaling(1.0, [-103.939, -116.779, -123.68])(x)
    if re.fullmatch(TORCH_MODE, network):
        scale = 1 / (255 * IMAGENET_STD)
        return keras.layers.Rescaling(scale.tolist(), (-IMAGENET_MEAN / IMAGENET_STD).tolist())(x)
    if re.fullmatch(TF_MODE, network):
        return keras.layers.Rescaling(1 / 127.5, -1.0)(x)
    return keras.layers.Rescaling(1.0)(x)


def load(model: keras.Model, file: Path, network: str, top: str) -> None:
    """Load the weights in `file` into all layers of `model` except the classifier; with `top` own,
    the classifier in the file is skipped. Raises `UserError` if they belong to another network."""
    layers = [layer for layer in model.layers if layer.weights and layer.name != CLASSIFIER]
    expected = [
        (
            convert_to_snake_case(type(layer).__name__),
            [tuple(weight.shape) for weight in list_weights(layer)],
        )
        for layer in layers
    ]
    if top == "own":
        convolution = re.fullmatch(r"MobileNet(V3.*)?", network)
        expected.append(("conv2d" if convolution else "dense", None))
    for layer, values in zip(layers, hdf5.read(file, expected)):
        # Keras's EfficientNetB files hold standard deviations instead of variances; Keras corrects
        # that only when it downloads them (https://github.com/tensorflow/tensorflow/issues/49930)
        if isinstance(layer, keras.layers.Normalization) and has_deviations(values):
            values[1] = values[1] * IMAGENET_STD
        for variable, value in zip(list_weights(layer), values):
            variable.assign(value)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def has_deviations(values: list[np.ndarray]) -> bool:
    """Whether a Normalization layer's mean, variance and count hold ImageNet's standard deviations
    instead of variances."""
    return np.size(values[1]) == 3 and np.allclose(np.ravel(values[1]), IMAGENET_STD, atol=1e-4)


def list_weights(layer: keras.Layer) -> list[keras.Variable]:
    """A layer's weights in the order that Keras saves them."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]
