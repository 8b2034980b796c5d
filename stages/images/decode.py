"""Encoded images (JPEG, PNG, GIF, BMP, WebP) as arrays of pixels, by Pillow.

What is done: the first frame of an animation is taken; an image that EXIF calls rotated is turned
upright; 16-bit grey is scaled to 8 bit (65535 becomes 255, rounded), other depths as Pillow does;
transparent parts are laid on white; palettes, CMYK and black-and-white become colour or grey;
colour becomes grey as Y = 0.299 R + 0.587 G + 0.114 B. Colour profiles are not applied.
"""

import warnings
from io import BytesIO

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp")
ORIENTATION = 0x0112  # EXIF's tag; what is to be done for each of its values:
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImage(Exception):
    """The content of a file is not an image that can be decoded; the message is the reason."""


def decode(
    content: bytes, channels: int, pixels: int | None = None, limit: str = "download.limits.pixels"
) -> np.ndarray:
    """The image in `content` as uint8 (height, width, channels); `channels` is 1 (grey) or 3 (red,
    green, blue).

    Raises `BadImage` for anything else, and for more than `pixels` pixels before any is decoded
    (None: no limit).
    """
    if not content:
        raise BadImage("the file is empty")
    Image.MAX_IMAGE_PIXELS = (
        pixels  # Pillow looks at it wherever a size is read, above all before it reserves memory
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                image.load()
                array = np.asarray(converted(image, channels))
                return array.reshape(*array.shape[:2], channels)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise BadImage(f"more than {pixels:,} pixels, the limit {limit}") from None
        except Image.UnidentifiedImageError:
            raise BadImage("not an image in " + ", ".join(FORMATS)) from None
        except (
            Exception
        ) as error:  # on damaged data, Pillow's readers raise errors of almost any type
            raise BadImage(str(error) or type(error).__name__) from None


def converted(image: Image.Image, channels: int) -> Image.Image:
    """The image upright and in the mode that `channels` asks for, ``L`` or ``RGB``."""
    turn = UPRIGHT.get(orientation(image))
    if image.mode.startswith(
        "I"
    ):  # 16 bit; Pillow's own conversion would cut off what is above 255
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
    return image.convert("L" if channels == 1 else "RGB")


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 (upright) where there is none, or EXIF is damaged."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # as above; the pixels are good all the same
        return 1
