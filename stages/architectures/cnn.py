"""Family cnn: blocks of convolutions, each ended by max pooling, then dense layers. In the manner
of VGG (Simonyan and Zisserman, arXiv 1409.1556), as the documents on MNIST, Fashion-MNIST,
CIFAR-10, CIFAR-100 and flowers vary it."""

from typing import TypeVar

import keras

from stages.architectures.hidden import activated

Value = TypeVar("Value")


def network(
    x,
    filters: list[int],
    convolutions: int | list[int],
    kernel_size: int | list[int],
    padding: str,
    activation: str,
    batch_norm: str,
    pool_size: int | list[int],
    pool_strides: int | list[int] | None,
    pool_padding: str,
    dropout: float | list[float],
    head: str,
    dense_units: list[int],
    dense_dropout: float,
    negative_slope: float | None = None,
):
    options = (convolutions, kernel_size, pool_size, pool_strides, dropout)
    for width, count, kernel, pool, strides, rate in zip(
        filters, *(a_block(value, len(filters)) for value in options)
    ):
        for _ in range(count):
            x = activated(
                x,
                keras.layers.Conv2D(width, kernel, padding=padding),
                activation,
                negative_slope,
                batch_norm,
            )
        if pool > 1:
            x = keras.layers.MaxPooling2D(pool, strides, padding=pool_padding)(x)
        if rate:
            x = keras.layers.Dropout(rate)(x)
    x = keras.layers.Flatten()(x) if head == "flatten" else keras.layers.GlobalAveragePooling2D()(x)
    for width in dense_units:
        x = activated(x, keras.layers.Dense(width), activation, negative_slope, batch_norm)
        if dense_dropout:
            x = keras.layers.Dropout(dense_dropout)(x)
    return x


def a_block(value: Value | list[Value], blocks: int) -> list[Value]:
    """`value` for each block: as given, or repeated."""
    return value if isinstance(value, list) else [value] * blocks
