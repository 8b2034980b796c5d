"""Family sequential: a list of Keras layers with their arguments, one after the other: a network of
one's own without code."""

from typing import Any

import keras

from stages.architectures import explain
from stages.runtime.errors import UserError


def network(x, layers: list[dict[str, dict[str, Any] | None]]):
    """`x` (batch, height, width, channels) → features (batch, features), which the last of `layers`
    must give. Each is one key, the name of a class in ``keras.layers``, with its arguments; those
    left out are Keras's own."""
    for number, layer in enumerate(layers):
        ((name, arguments),) = layer.items()
        try:
            x = getattr(keras.layers, name)(**(arguments or {}))(x)
        except Exception as error:  # a layer may raise anything for a wrong argument
            raise UserError(
                f"layers[{number}]: {name} cannot follow with {arguments or 'no arguments'}: "
                f"{explain(error)}"
            ) from None
    return x
