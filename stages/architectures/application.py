"""Family application: any network of ``keras.applications`` by name, untrained.

Some of them normalise the pixels themselves and expect 0..255, as their Keras pages say:
``preprocess.normalisation: none`` then.
"""

from typing import Any

import keras

POOLING = {"global_average_pooling": "avg", "global_max_pooling": "max", "flatten": None}


def network(x, network: str, top: str, arguments: dict[str, Any]):
    """`x` (batch, height, width, channels) → features (batch, features). `top` is what stands
    between the convolutions and the classifier: the network's own layers, or one of `POOLING`."""
    function = getattr(keras.applications, network)
    place = {"weights": None, "input_tensor": x, "input_shape": x.shape[1:]}
    if top != "own":
        return flatten(
            function(include_top=False, pooling=POOLING[top], **place, **arguments).output
        )
    whole = function(include_top=True, classes=1, **place, **arguments)
    classifier = next(
        layer
        for layer in reversed(whole.layers)
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)
    )
    return flatten(classifier.input)


def flatten(x):
    """(batch, …) → (batch, features)."""
    return x if len(x.shape) == 2 else keras.layers.Flatten()(x)
