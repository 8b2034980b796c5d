"""Building blocks that families share: a hidden layer with its activation and optional batch norm,
and a tail of dense layers."""

from typing import TypeVar

import keras

Value = TypeVar("Value")


def add_hidden_layer(
    x, layer: keras.Layer, activation: str, negative_slope: float | None, batch_norm: str
):
    """Apply the linear `layer` to `x`, then the activation, with batch norm before or after it, or
    none, as `batch_norm` says."""
    x = layer(x)
    if batch_norm == "before":
        x = keras.layers.BatchNormalization()(x)
    if activation == "leaky_relu":
        x = keras.layers.LeakyReLU(negative_slope)(x)
    else:
        x = keras.layers.Activation(activation)(x)
    if batch_norm == "after":
        x = keras.layers.BatchNormalization()(x)
    return x


def repeat_for_blocks(value: Value | list[Value], blocks: int) -> list[Value]:
    """A list with a value per block: `value` itself if it is a list, else repeated."""
    return value if isinstance(value, list) else [value] * blocks


def add_dense_tail(x, units: list[int], dropout: float):
    """Flatten `x`, then apply a ReLU dense layer with dropout for each of `units`, as AlexNet and
    VGG16 end."""
    x = keras.layers.Flatten()(x)
    for width in units:
        x = keras.layers.Dense(width, activation="relu")(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return x
