"""Family dense: fully connected layers on the flattened image (MNIST document; F. Chollet, Deep
Learning with Python, 2.1)."""

import keras

from stages.architectures.hidden import add_hidden_layer


def network(
    x,
    units: list[int],
    activation: str,
    batch_norm: str,
    dropout: float,
    negative_slope: float | None = None,
):
    """`x` (batch, height, width, channels) → features (batch, last of `units`)."""
    x = keras.layers.Flatten()(x)
    for width in units:
        x = add_hidden_layer(x, keras.layers.Dense(width), activation, negative_slope, batch_norm)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return x
