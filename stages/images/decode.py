"""Decode images (JPEG, PNG, GIF, BMP, WebP, HEIF) to arrays of pixels with Pillow.

Of an animation, the first frame is taken; an image is turned upright by its EXIF orientation;
16-bit grey is scaled to 8 bits (65535 becomes 255, rounded), other depths as Pillow does;
transparency is composited on white; palettes, CMYK and black-and-white become colour or grey;
colour becomes grey as Y = 0.299 R + 0.587 G + 0.114 B. Colour profiles are not applied.
"""

import itertools
import re
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pi_heif
from PIL import Image

from stages.runtime.text import printable

# no AVIF: however few pixels its header claims, Pillow decodes all that its stream holds
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "HEIF")
pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
ORIENTATION = 0x0112  # EXIF tag; `UPRIGHT` maps its values to the transformation needed
UPRIGHT = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.transpose(1, 0, 2),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].transpose(1, 0, 2),
    8: lambda array: np.rot90(array),
}
# limit for a JPEG file: a scan of 50 bytes may pass over all pixels. Progressive files have about
# ten; 100 over 25 million pixels take three seconds
SCANS = 100
# limits for a JPEG file, in all and with Exif: each costs time and memory (Pillow appends them)
SEGMENTS, EXIF = 5000, 64
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # of JPEG, except restarts
STRIP = 1 << 22  # pixels converted at a time: some steps take 20 bytes a pixel


class BadImage(Exception):
    """The content of a file is not an image that can be decoded; the message is the reason."""


def decode(
    content: bytes, channels: int, pixels: int | None = None, limit: str = "download.limits.pixels"
) -> np.ndarray:
    """Decode `content` to uint8 (height, width, channels); `channels` is 1 (grey) or 3 (RGB).

    Raises `BadImage` if it is not an image, or, before decoding, if it has more than `pixels`
    pixels (None: no limit; `limit` names the parameter); MemoryError if a good image needs more
    memory than there is.
    """
    if not content:
        raise BadImage("the file is empty")
    if content.startswith(b"\xff\xd8"):
        refuse_segments(content)
    # Pillow checks it whenever it reads a size, before it allocates memory; it raises beyond twice
    # the value, and only warns below (warning filters are shared by all threads)
    Image.MAX_IMAGE_PIXELS = pixels and pixels / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                transparent = find_transparent_colour(image)
                hidden = find_transparent_16_bit(content, image)
                image.load()
                if transparent is not None:
                    image.info["transparency"] = transparent
                if hidden is not None:
                    image.putalpha(Image.fromarray(~hidden))
                turn = UPRIGHT.get(read_orientation(image))
                array = convert(image, channels)
            return np.ascontiguousarray(turn(array)) if turn else array
        except Image.DecompressionBombError:
            raise BadImage(f"more than {pixels:,} pixels, the limit {limit}") from None
        except Image.UnidentifiedImageError:
            raise BadImage("not an image in " + ", ".join(FORMATS)) from None
        # on damaged data, Pillow's readers raise errors of almost any type
        except Exception as error:
            if isinstance(error, MemoryError) or str(error).startswith("out of memory"):
                raise MemoryError from None  # not the file's fault
            raise BadImage(printable(error) or type(error).__name__) from None


def refuse_segments(content: bytes) -> None:
    """Raise `BadImage` if a JPEG file has more scans or segments than any camera writes; data after
    its end, such as a film, does not count (ITU-T T.81, annex B)."""
    place, scans, exif = 2, 0, 0
    for segments in itertools.count(1):
        match = MARKER.search(content, place)
        if not match or match[1][0] == 0xD9:  # the end
            return
        marker, place = match[1][0], match.end()
        scans += marker == 0xDA
        exif += marker == 0xE1 and content.startswith(b"Exif", place + 2)
        if scans > SCANS or segments > SEGMENTS or exif > EXIF:
            raise BadImage(
                f"a JPEG file of more than {SCANS} scans, {SEGMENTS:,} segments or {EXIF} of Exif"
            )
        if marker not in (0x01, 0xD8):  # which have no length
            place += int.from_bytes(content[place : place + 2], "big")


def convert(image: Image.Image, channels: int) -> np.ndarray:
    """Convert an image to uint8 (height, width, channels), strip by strip."""
    rows = max(1, STRIP // image.width)
    if rows >= image.height:
        return np.asarray(flatten(image, channels)).reshape(image.height, image.width, channels)
    array = np.empty((image.height, image.width, channels), np.uint8)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = flatten(image.crop((0, top, image.width, bottom)), channels)
        array[top:bottom] = np.asarray(strip).reshape(bottom - top, image.width, channels)
    return array


def flatten(image: Image.Image, channels: int) -> Image.Image:
    """Composite the image on white, and convert it to the mode for `channels`, ``L`` or ``RGB``."""
    if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion clips at 255
        transparent = image.info.get("transparency")
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        if transparent is not None:
            grey[grey == transparent] = 65535
        image = Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def find_transparent_colour(image: Image.Image) -> Any:
    """The transparent colour of a PNG, scaled as its decoded pixels are; None if there is none, or
    if Pillow already has it right.

    Pillow leaves it in the file's own bit depth (PNG specification, 11.3.2.1), where only the lower
    bits count, but scales pixels of 1, 2 and 4 bits to 8.
    """
    colour = image.info.get("transparency")
    scale = {"1": 255, "L;2": 85, "L;4": 17, "L": 1, "RGB": 1}.get(find_raw_mode(image))
    if colour is None or scale is None:
        return None
    mask = 255 // scale
    if isinstance(colour, tuple):
        return tuple(value & mask for value in colour)
    return (colour & mask) * scale


def find_transparent_16_bit(content: bytes, image: Image.Image) -> np.ndarray | None:
    """The mask of a 48-bit RGB PNG's transparent colour, 255 there and 0 elsewhere, uint8 (height,
    width); None for any other image. Pillow keeps only the upper byte of each value, so that other
    colours would be transparent too: here the lower ones are compared as well."""
    colour = image.info.get("transparency")
    if colour is None or find_raw_mode(image) != "RGB;16B":
        return None
    with Image.open(BytesIO(content), formats=FORMATS) as lower:
        lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]  # swapped bytes
        halves = ((image, 8), (lower, 0))
        mask = np.full((image.height, image.width), 255, np.uint8)
        for half, shift in halves:
            for band, value in zip(half.split(), colour):
                mask[np.asarray(band) != (value >> shift & 255)] = 0
    return mask


def find_raw_mode(image: Image.Image) -> str | None:
    """Pillow's raw mode for the pixels of a PNG that is not decoded yet; None for other formats and
    for palettes."""
    if image.format != "PNG" or image.mode == "P" or not image.tile:
        return None
    stored = image.tile[0].args
    return stored if isinstance(stored, str) else stored[0]


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) if there is none, or EXIF is damaged."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # as above; the pixels are still good
        return 1
