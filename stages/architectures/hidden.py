"""The step that hidden layers share: a linear layer, its activation, and batch norm before or after the activation, or none."""

import keras


def activated(x, layer: keras.Layer, activation: str, negative_slope: float | None, batch_norm: str):
    """`layer` (linear) applied to `x`, then activation and batch norm in the order that `batch_norm` says: before, after, none."""
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
