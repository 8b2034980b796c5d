"""Family vgg16: five blocks of 3×3 convolutions with max pooling, and two dense layers;
configuration D of Simonyan and Zisserman, arXiv 1409.1556, table 1. With `convolutions` 2, 2, 4, 4,
4 it is VGG19."""

import keras

from stages.architectures.hidden import add_dense_tail, add_hidden_layer


def network(
    x,
    filters: list[int],
    convolutions: list[int],
    kernel_size: int,
    batch_norm: str,
    pool_size: int,
    dense_units: list[int],
    dense_dropout: float,
):
    """`x` (batch, height, width, channels) → features (batch, last of `dense_units`). `filters` and
    `convolutions` have one entry per block."""
    for width, count in zip(filters, convolutions):
        for _ in range(count):
            x = add_hidden_layer(
                x, keras.layers.Conv2D(width, kernel_size, padding="same"), "relu", None, batch_norm
            )
        x = keras.layers.MaxPooling2D(pool_size)(x)
    return add_dense_tail(x, dense_units, dense_dropout)
