"""Temperature scaling, which calibrates probabilities (Guo et al., arXiv 1706.04599).

A network's logits are divided by one number, the temperature, chosen to minimise the loss on the
validation set. Few images say little about it, and if all of them are classified correctly, the
loss falls with the temperature; so its logarithm has a normal prior around 0, which a few hundred
images outweigh. Predicted classes do not change, except a few of a network that averages over an
image and its mirror image. The classifier's weights absorb the division, so the saved network has
no additional layer, and its users get calibrated probabilities.
"""

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from stages.architectures import CLASSIFIER

LIMITS = (0.05, 20.0)  # of the temperature
# Standard deviation of the prior of its logarithm. In simulations with 20 to 100 images, two to ten
# classes, and logits scaled by half, one, or more than two, the loss on other images, averaged over
# 60 draws, was at most 1.2 times that of the best temperature; without a prior, up to 3.4 times.
PRIOR = 0.5


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The maximum a posteriori temperature, to four digits. `probabilities` is float (views,
    images, classes), whose mean over views is the prediction; `labels` is int (images,). The
    logarithms of probabilities serve as logits."""
    tiny = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(probabilities.astype(np.float64), tiny))
    rows = np.arange(len(labels))

    def negative_log_posterior(log_temperature: float) -> float:
        scaled = softmax(logits / np.exp(log_temperature), axis=-1).mean(axis=0)
        loss = -np.log(np.maximum(scaled[rows, labels], tiny)).mean()
        return loss + (log_temperature / PRIOR) ** 2 / (2 * len(labels))

    optimum = minimize_scalar(
        negative_log_posterior, bounds=np.log(LIMITS), method="bounded", options={"xatol": 1e-6}
    )
    return float(f"{np.exp(optimum.x):.4g}")


def scale(model: keras.Model, temperature: float) -> None:
    """Divide the logits of the main head of `model` by `temperature`."""
    for weights in find_network(model).get_layer(CLASSIFIER).weights:
        weights.assign(weights / temperature)


def split_views(model: keras.Model) -> list[keras.Model]:
    """The models whose predictions `model` averages: only itself, or with test-time augmentation,
    its inner network on the image and on the mirror image."""
    network = find_network(model)
    if network is model:
        return [model]
    return [network, keras.Model(model.input, network(keras.ops.flip(model.input, axis=2)))]


def find_network(model: keras.Model) -> keras.Model:
    """`model`, or the network inside it if `model` adds test-time augmentation."""
    nested = (layer for layer in model.layers if isinstance(layer, keras.Model))
    return next((layer for layer in nested if layer.name == model.name), model)
