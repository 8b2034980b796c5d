"""Family googlenet: nine inception modules and two auxiliary heads (Szegedy et al., arXiv
1409.4842, table 1), as in the flowers document: without local response normalisation.

The document's early stopping monitored ``val_accuracy``, which Keras does not log for a network
with three outputs, so it never acted; an empty ``train.early_stopping.patience`` with
``restore_best: never`` is equivalent.
"""

import keras


def network(
    x,
    stem_filters: list[int],
    stem_kernel_size: list[int],
    stem_strides: int,
    stem_padding: str,
    pool_size: int,
    pool_strides: int,
    pool_padding: str,
    inception_3a: list[int],
    inception_3b: list[int],
    inception_4a: list[int],
    inception_4b: list[int],
    inception_4c: list[int],
    inception_4d: list[int],
    inception_4e: list[int],
    inception_5a: list[int],
    inception_5b: list[int],
    dropout: float,
    auxiliary_pool_size: int,
    auxiliary_pool_strides: int,
    auxiliary_filters: int,
    auxiliary_units: int,
    auxiliary_dropout: float,
):
    """`x` (batch, height, width, channels) → the features of three heads, (batch, features) each:
    the main one, and two auxiliary ones that branch off after modules 4a and 4d, so that the
    gradient reaches the early layers."""

    def pool(x):
        return keras.layers.MaxPooling2D(pool_size, pool_strides, padding=pool_padding)(x)

    def branch_off(x, name):
        x = keras.layers.AveragePooling2D(
            auxiliary_pool_size, auxiliary_pool_strides, name=f"{name}_pool"
        )(x)
        x = convolve(x, auxiliary_filters, 1, name=f"{name}_conv")
        x = keras.layers.Flatten(name=f"{name}_flatten")(x)
        x = keras.layers.Dense(auxiliary_units, activation="relu", name=f"{name}_dense")(x)
        return keras.layers.Dropout(auxiliary_dropout, name=f"{name}_dropout")(x)

    first, *others = zip(stem_filters, stem_kernel_size)
    x = pool(convolve(x, *first, stem_strides, stem_padding))
    for width, kernel in others:
        x = convolve(x, width, kernel)
    x = pool(x)
    x = apply_inception(x, inception_3a, "inception_3a")
    x = pool(apply_inception(x, inception_3b, "inception_3b"))
    x = apply_inception(x, inception_4a, "inception_4a")
    auxiliary1 = branch_off(x, "auxiliary1")
    x = apply_inception(x, inception_4b, "inception_4b")
    x = apply_inception(x, inception_4c, "inception_4c")
    x = apply_inception(x, inception_4d, "inception_4d")
    auxiliary2 = branch_off(x, "auxiliary2")
    x = pool(apply_inception(x, inception_4e, "inception_4e"))
    x = apply_inception(x, inception_5a, "inception_5a")
    x = apply_inception(x, inception_5b, "inception_5b")
    x = keras.layers.GlobalAveragePooling2D()(x)
    return [keras.layers.Dropout(dropout)(x), auxiliary1, auxiliary2]


def apply_inception(x, filters: list[int], name: str):
    """Apply an inception module: four parallel paths whose channels are concatenated. `filters` in
    the order of the paper's table: 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection."""
    width1, reduce3, width3, reduce5, width5, projection = filters
    pooling = keras.layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")
    paths = [
        convolve(x, width1, 1, name=f"{name}_1x1"),
        convolve(convolve(x, reduce3, 1, name=f"{name}_3x3_reduce"), width3, 3, name=f"{name}_3x3"),
        convolve(convolve(x, reduce5, 1, name=f"{name}_5x5_reduce"), width5, 5, name=f"{name}_5x5"),
        convolve(pooling(x), projection, 1, name=f"{name}_projection"),
    ]
    return keras.layers.Concatenate(name=name)(paths)


def convolve(
    x,
    filters: int,
    kernel_size: int,
    strides: int = 1,
    padding: str = "same",
    name: str | None = None,
):
    return keras.layers.Conv2D(
        filters, kernel_size, strides, padding=padding, activation="relu", name=name
    )(x)
