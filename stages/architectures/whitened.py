"""Family whitened: a fixed whitening convolution, then blocks of convolution, max pooling, batch
norm and activation.

Modelled on airbench (K. Jordan, arXiv 2404.00498). The first convolution applies PCA whitening to
image patches: its filters are the eigenvectors of the uncentred covariance (second moments) of the
training images' patches, each divided by √(eigenvalue + ε), followed by their negatives. `adapt`
computes them from the training set, and they are not trained. The network ends with global max
pooling, whose features are scaled down so that the probabilities stay soft while the learning rate
is high.
"""

import keras
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stages.architectures.hidden import repeat_for_blocks

CHUNK = 500  # most images whose patches are in memory at a time
CHUNK_BYTES = 1 << 29  # most bytes of these patches, unless a single image has more


def network(
    x,
    whitening_size: int,
    whitening_images: int,
    whitening_epsilon: float,
    filters: list[int],
    convolutions: int | list[int],
    kernel_size: int | list[int],
    pool_size: int | list[int],
    activation: str,
    batch_norm_momentum: float,
    head_scale: float,
):
    """`x` (batch, height, width, channels) → features (batch, last of `filters`). `adapt` uses
    `whitening_images` and `whitening_epsilon`."""
    directions = whitening_size**2 * x.shape[-1]
    whiten = keras.layers.Conv2D(
        2 * directions, whitening_size, use_bias=False, trainable=False, name="whitening"
    )
    x = keras.layers.Activation(activation)(whiten(x))
    options = (convolutions, kernel_size, pool_size)
    for width, count, kernel, pool in zip(
        filters, *(repeat_for_blocks(value, len(filters)) for value in options)
    ):
        for number in range(count):
            x = keras.layers.Conv2D(width, kernel, padding="same", use_bias=False)(x)
            if number == 0:
                x = keras.layers.MaxPooling2D(pool)(x)
            x = keras.layers.BatchNormalization(momentum=batch_norm_momentum, scale=False)(x)
            x = keras.layers.Activation(activation)(x)
    return keras.layers.Rescaling(head_scale)(keras.layers.GlobalMaxPooling2D()(x))


def adapt(
    model: keras.Model, images: np.ndarray, whitening_images: int, whitening_epsilon: float, **_
) -> None:
    """Set the whitening filters of `model` from `whitening_images` evenly spaced `images`, uint8
    (images, height, width, channels). `whitening_epsilon` is added to the variances, so that
    directions of almost no variance are not blown up."""
    layer = model.get_layer("whitening")
    rescaling = next(layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling))
    scale, offset = (np.asarray(value, np.float64) for value in (rescaling.scale, rescaling.offset))
    height, width, channels, filters = layer.kernel.shape
    indices = np.linspace(0, len(images) - 1, min(whitening_images, len(images))).astype(int)
    products, count = 0, 0
    patch_bytes = height * width * channels * np.dtype(np.float64).itemsize
    patches_per_image = (images.shape[1] - height + 1) * (images.shape[2] - width + 1)
    step = max(1, min(CHUNK, CHUNK_BYTES // (patches_per_image * patch_bytes)))
    for start in range(0, len(indices), step):
        chunk = images[indices[start : start + step]] * scale + offset
        patches = sliding_window_view(chunk, (height, width), axis=(1, 2)).transpose(
            0, 1, 2, 4, 5, 3
        )
        patches = patches.reshape(-1, height * width * channels)
        products, count = products + patches.T @ patches, count + len(patches)
    variances, directions = np.linalg.eigh(products / count)
    # fix the sign of each eigenvector, which is arbitrary
    directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(len(variances))])
    whitening = (directions / np.sqrt(variances + whitening_epsilon)).reshape(
        height, width, channels, filters // 2
    )
    layer.set_weights([np.concatenate([whitening, -whitening], axis=-1)])
