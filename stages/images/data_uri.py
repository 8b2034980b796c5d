"""Images as data URIs (RFC 2397), to embed them in pages."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from stages.images.pillow import to_pillow

SIDE = 96  # pixels at most
EXACT = 40  # pixels: up to this side, images are stored losslessly


def encode_array(image: np.ndarray) -> str:
    """A uint8 image (height, width, 1 or 3) as a data URI: PNG up to `EXACT` pixels, else JPEG
    scaled down to `SIDE`."""
    picture = to_pillow(image)
    buffer = BytesIO()
    if max(picture.size) <= EXACT:
        picture.save(buffer, "PNG", optimize=True)
        return encode_bytes(buffer.getvalue(), "png")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=80)
    return encode_bytes(buffer.getvalue(), "jpeg")


def encode_bytes(content: bytes, kind: str) -> str:
    """The content of an image file as a data URI; `kind` is png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
