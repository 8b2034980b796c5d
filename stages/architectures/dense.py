"""Family dense: fully connected layers on the flattened image (MNIST document; F. Chollet, Deep
Learning with Python, 2.1)."""

import keras

from stages.architectures.hidden import activated


def network(
    x,
    units: list[int],
    activation: str,
    batch_norm: str,
    dropout: float,
    negative_slope: float | None = None,
):
    x = keras.layers.Flatten()(x)
    for width in units:
        x = activated(x, keras.layers.Dense(width), activation, negative_slope, batch_norm)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return x
