"""Family alexnet: five convolutions and two dense layers (Krizhevsky, Sutskever and Hinton, NIPS
2012), as the flowers document adapts it: batch norm instead of local response normalisation, and
no grouped convolutions."""

import keras

from stages.architectures.hidden import add_dense_tail, add_hidden_layer


def network(
    x,
    filters: list[int],
    kernel_size: list[int],
    strides: list[int],
    batch_norm: str,
    pool_size: int,
    pool_strides: int,
    pool_padding: str,
    dense_units: list[int],
    dense_dropout: float,
):
    """`x` (batch, height, width, channels) → features (batch, last of `dense_units`). `filters`,
    `kernel_size` and `strides` have five entries each."""
    for number, (width, kernel, step) in enumerate(zip(filters, kernel_size, strides), start=1):
        convolution = keras.layers.Conv2D(
            width, kernel, step, padding="valid" if number == 1 else "same"
        )
        x = add_hidden_layer(x, convolution, "relu", None, batch_norm)
        if number in (1, 2, 5):
            x = keras.layers.MaxPooling2D(pool_size, pool_strides, padding=pool_padding)(x)
    return add_dense_tail(x, dense_units, dense_dropout)
