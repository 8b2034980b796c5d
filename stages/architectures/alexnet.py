"""Family alexnet: five convolutions and two dense layers (Krizhevsky, Sutskever and Hinton, NIPS
2012), as the flowers document adapts it: batch norm where the paper normalises over neighbouring
channels, no convolution in groups."""

import keras

from stages.architectures.hidden import activated, dense_tail


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
    for number, (width, kernel, step) in enumerate(zip(filters, kernel_size, strides), start=1):
        convolution = keras.layers.Conv2D(
            width, kernel, step, padding="valid" if number == 1 else "same"
        )
        x = activated(x, convolution, "relu", None, batch_norm)
        if number in (1, 2, 5):
            x = keras.layers.MaxPooling2D(pool_size, pool_strides, padding=pool_padding)(x)
    return dense_tail(x, dense_units, dense_dropout)
