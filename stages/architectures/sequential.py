"""Family sequential: a custom network without code, as a list of Keras layers with their
arguments."""

from typing import Any

import keras

from stages.architectures import explain
from stages.runtime.errors import UserError


def network(x, layers: list[dict[str, dict[str, Any] | None]]):
    """`x` (batch, height, width, channels) → features (batch, features), the output of the last of
    `layers`. Each of these maps the name of a class in ``keras.layers`` to its arguments; those
    left out default as in Keras."""
    for number, layer in enumerate(layers):
        ((name, arguments),) = layer.items()
        try:
            x = getattr(keras.layers, name)(**(arguments or {}))(x)
        except Exception as error:  # a layer may raise anything for a wrong argument
            raise UserError(
                f"layers[{number}]: cannot add {name} with {arguments or 'no arguments'}: "
                f"{explain(error)}"
            ) from None
    return x
