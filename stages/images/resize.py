"""Convert an image to the size and channels that a model takes."""

import numpy as np
from PIL import Image, ImageOps

from stages.images.pillow import to_pillow
from stages.params.schema import Preprocess


def resize(image: np.ndarray, options: Preprocess) -> np.ndarray:
    """A uint8 image (height, width, channels) with the channels and size in `options`: Pillow
    converts first the channels (grey is ITU-R 601 luma), then the size by ``aspect``. Without
    ``image_size`` the size is kept."""
    side, channels = options.image_size, options.channels or image.shape[2]
    if image.shape == (side or image.shape[0], side or image.shape[1], channels):
        return image
    picture, mode = to_pillow(image), {1: "L", 3: "RGB"}[channels]
    if picture.mode != mode:
        picture = picture.convert(mode)
    if side:
        method = Image.Resampling[options.interpolation.upper()]
        if options.aspect == "stretch":
            picture = picture.resize((side, side), method)
        elif options.aspect == "crop":
            picture = ImageOps.fit(picture, (side, side), method)
        else:
            picture = ImageOps.pad(
                picture, (side, side), method, color=(options.pad_value,) * channels
            )
    return np.asarray(picture).reshape(picture.height, picture.width, channels)
