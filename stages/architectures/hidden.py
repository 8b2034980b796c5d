"""What families share: a hidden layer with its activation, and batch norm before or after that, or
none; a tail of dense layers."""

from typing import TypeVar

import keras

Value = TypeVar("Value")


def add_hidden_layer(
    x, layer: keras.Layer, activation: str, negative_slope: float | None, batch_norm: str
):
    """`layer` (linear) applied to `x`, then activation and batch norm in the order that
    `batch_norm` says: before, after, none."""
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
    """`value` for each block: as given, or repeated."""
    return value if isinstance(value, list) else [value] * blocks


def add_dense_tail(x, units: list[int], dropout: float):
    """Flatten, then a dense layer with ReLU for each of `units`, each with dropout: how AlexNet and
    VGG16 end."""
    x = keras.layers.Flatten()(x)
    for width in units:
        x = keras.layers.Dense(width, activation="relu")(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return x
