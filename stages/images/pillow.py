"""Convert arrays of pixels to Pillow images."""

import numpy as np
from PIL import Image


def to_pillow(image: np.ndarray) -> Image.Image:
    """A uint8 image (height, width, 1 or 3) as a Pillow image of mode ``L`` (grey) or ``RGB``."""
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
