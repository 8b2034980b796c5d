"""Temperature scaling: probabilities that mean what they say (Guo et al., arXiv 1706.04599).

A network's logits are divided by one number, the temperature, which makes the loss of the
validation set least. Few images say little about it, and where all of them are right, the loss is
less the lower it is; so its logarithm has a normal prior about 0, whose weight is lost among a few
hundred images. Classes stay as they are, but for a few of a network that averages over an
image and its mirror image. The division is carried out in the
weights of the classifier, so that the saved network has no layer more, and whoever uses it gets
calibrated probabilities.
"""

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from stages.architectures import CLASSIFIER

LIMITS = (0.05, 20.0)  # of the temperature
# standard deviation of the prior of its logarithm. Simulated with 20 to 100 images, two to ten
# classes, and logits half, once or more than twice as large as is right: the loss on other images
# was at most 1.2 times the least that any temperature gives, on average over 60 draws; without a
# prior up to 3.4 times
PRIOR = 0.5


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The most probable temperature, to four digits; `probabilities` float (views, images,
    classes), where a prediction is the mean over the views of an image, `labels` int (images,).
    The logarithms of probabilities serve as logits."""
    tiny = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(probabilities.astype(np.float64), tiny))
    rows = np.arange(len(labels))

    def improbability(log_temperature: float) -> float:
        scaled = softmax(logits / np.exp(log_temperature), axis=-1).mean(axis=0)
        loss = -np.log(np.maximum(scaled[rows, labels], tiny)).mean()
        return loss + (log_temperature / PRIOR) ** 2 / (2 * len(labels))

    found = minimize_scalar(
        improbability, bounds=np.log(LIMITS), method="bounded", options={"xatol": 1e-6}
    )
    return float(f"{np.exp(found.x):.4g}")


def scale(model: keras.Model, temperature: float) -> None:
    """Divide the logits of the main head of `model` by `temperature`."""
    for weights in find_network(model).get_layer(CLASSIFIER).weights:
        weights.assign(weights / temperature)


def split_views(model: keras.Model) -> list[keras.Model]:
    """The models of which `model` predicts the mean: itself; or, with test-time augmentation, what
    the network in it says of an image, and of its mirror image."""
    network = find_network(model)
    if network is model:
        return [model]
    return [network, keras.Model(model.input, network(keras.ops.flip(model.input, axis=2)))]


def find_network(model: keras.Model) -> keras.Model:
    """`model`, or the network in it where it is a test-time augmentation."""
    nested = (layer for layer in model.layers if isinstance(layer, keras.Model))
    return next((layer for layer in nested if layer.name == model.name), model)
