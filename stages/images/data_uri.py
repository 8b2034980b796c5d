"""Example images inside the page, as data addresses."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

SIDE = 96  # pixels at most
EXACT = 40  # pixels: up to this side images are kept without loss


def of_array(image: np.ndarray) -> str:
    """A uint8 image (height, width, 1 or 3) as a ``data:`` address: PNG of a small image, JPEG of a
    larger one, made smaller."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    buffer = BytesIO()
    if max(picture.size) <= EXACT:
        picture.save(buffer, "PNG", optimize=True)
        return of_bytes(buffer.getvalue(), "png")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=80)
    return of_bytes(buffer.getvalue(), "jpeg")


def of_bytes(content: bytes, kind: str) -> str:
    """The content of an image file as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
