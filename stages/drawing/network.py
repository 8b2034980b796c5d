"""A drawing of a network as HTML: a block per layer, whose height shows the size of its output
images and whose width the number of channels, on scales of their own."""

import math
from html import escape
from typing import Any

# part of the name of a layer's Keras class → the CSS class that colours it; others are plain
KINDS = (
    ("Conv", "conv"),
    ("Pooling", "pool"),
    ("Dense", "dense"),
    ("Normalization", "norm"),
    ("Dropout", "drop"),
)
HEIGHT = 120  # of the highest block, in pixels


def classify_layer(layer: dict[str, Any]) -> str:
    """The CSS class for a layer of training.json."""
    return next((name for part, name in KINDS if part in layer["type"]), "plain")


def format_shape(layer: dict[str, Any]) -> str:
    """A layer's output shape as text, such as 28×28×20."""
    return "×".join(str(side) for side in layer["output_shape"])


def draw_network(layers: list[dict[str, Any]]) -> str:
    """The HTML of `layers` (from training.json) in their order, wrapped to the width of the page;
    branches are drawn one after the other."""
    highest = max(
        (layer["output_shape"][0] for layer in layers if len(layer["output_shape"]) == 3), default=1
    )
    blocks = []
    for layer in layers:
        width, height = measure_block(layer, highest)
        kind, text = classify_layer(layer), format_shape(layer)
        title = f"{layer['type']} {layer['name']}: {text}, {layer['parameters']:,} parameters"
        blocks.append(
            f'<i class="{kind}" style="width:{width:.1f}px;height:{height:.1f}px" '
            f'title="{escape(title)}"></i>'
        )
    first, last = format_shape(layers[0]), format_shape(layers[-1])
    return (
        '<div class="network" role="img" aria-label="The network, layer by layer">'
        f"<span>{first}</span>{''.join(blocks)}<span>{last}</span></div>"
    )


def measure_block(layer: dict[str, Any], highest: int) -> tuple[float, float]:
    """The width and height of a layer's block in pixels; `highest` is the height of the network's
    largest image."""
    kind, sides = classify_layer(layer), layer["output_shape"]
    spatial = len(sides) == 3
    height = HEIGHT * (
        math.sqrt(sides[0] / highest) if spatial else 0.075 * math.log2(sides[0] + 1)
    )
    slim = layer["parameters"] == 0 and kind == "plain" or kind in ("norm", "drop")
    width = 5 if slim else 6 + 3 * math.log2(sides[-1] + 1) if spatial else 12
    return width, min(max(height, 8), HEIGHT)
