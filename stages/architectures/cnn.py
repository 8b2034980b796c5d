"""Family cnn: blocks of convolutions with max pooling, then dense layers. Modelled on VGG (Simonyan
and Zisserman, arXiv 1409.1556), as the documents on MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100 and
flowers vary it."""

import keras

from stages.architectures.hidden import add_hidden_layer, repeat_for_blocks


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
    """`x` (batch, height, width, channels) → features (batch, last of `dense_units`); without dense
    layers, (batch, height·width·filters) if `head` is flatten, else (batch, filters). Lists other
    than `dense_units` have one entry per block."""
    options = (convolutions, kernel_size, pool_size, pool_strides, dropout)
    for width, count, kernel, pool, strides, rate in zip(
        filters, *(repeat_for_blocks(value, len(filters)) for value in options)
    ):
        for _ in range(count):
            x = add_hidden_layer(
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
        x = add_hidden_layer(x, keras.layers.Dense(width), activation, negative_slope, batch_norm)
        if dense_dropout:
            x = keras.layers.Dropout(dense_dropout)(x)
    return x
