"""Encoded images (JPEG, PNG, GIF, BMP, WebP, HEIF) as arrays of pixels, by Pillow.

What is done: the first frame of an animation is taken; an image that EXIF calls rotated is turned
upright; 16-bit grey is scaled to 8 bit (65535 becomes 255, rounded), other depths as Pillow does;
transparent parts are laid on white; palettes, CMYK and black-and-white become colour or grey;
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

# not AVIF: however few pixels its header claims, Pillow decodes all that its stream has
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "HEIF")
pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
ORIENTATION = 0x0112  # EXIF's tag; what is to be done for each of its values:
UPRIGHT = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.transpose(1, 0, 2),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].transpose(1, 0, 2),
    8: lambda array: np.rot90(array),
}
# of a JPEG file at most: each passes over all pixels, and may have 50 bytes. Progressive ones have
# about ten; 100 of 25 million pixels take three seconds
SCANS = 100
# of a JPEG file at most, and of these with Exif: each costs time and memory (Pillow appends them)
SEGMENTS, EXIF = 5000, 64
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # of JPEG, but for restarts
STRIP = 1 << 22  # pixels converted at a time: some steps take 20 bytes a pixel


class BadImage(Exception):
    """The content of a file is not an image that can be decoded; the message is the reason."""


def decode(
    content: bytes, channels: int, pixels: int | None = None, limit: str = "download.limits.pixels"
) -> np.ndarray:
    """The image in `content` as uint8 (height, width, channels); `channels` is 1 (grey) or 3 (red,
    green, blue).

    Raises `BadImage` for anything else, and for more than `pixels` pixels before any is decoded
    (None: no limit); MemoryError where the machine has too little for a good one.
    """
    if not content:
        raise BadImage("the file is empty")
    if content.startswith(b"\xff\xd8"):
        refuse_segments(content)
    # Pillow looks at it wherever a size is read, before it reserves memory; it refuses what exceeds
    # it twice, and only warns of less (and filters of warnings are shared by all threads)
    Image.MAX_IMAGE_PIXELS = pixels and pixels / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                transparent = transparent_colour(image)
                hidden = find_transparent_16_bit(content, image)
                image.load()
                if transparent is not None:
                    image.info["transparency"] = transparent
                if hidden is not None:
                    image.putalpha(Image.fromarray(~hidden))
                turn = UPRIGHT.get(orientation(image))
                array = convert(image, channels)
            return np.ascontiguousarray(turn(array)) if turn else array
        except Image.DecompressionBombError:
            raise BadImage(f"more than {pixels:,} pixels, the limit {limit}") from None
        except Image.UnidentifiedImageError:
            raise BadImage("not an image in " + ", ".join(FORMATS)) from None
        # on damaged data, Pillow's readers raise errors of almost any type
        except Exception as error:
            if isinstance(error, MemoryError) or str(error).startswith("out of memory"):
                raise MemoryError from None  # the machine is at fault, not the file
            raise BadImage(printable(error) or type(error).__name__) from None


def refuse_segments(content: bytes) -> None:
    """Raise `BadImage` where a JPEG file has more scans or segments than any camera writes; what
    lies behind its end, such as a film, does not count (ITU-T T.81, annex B)."""
    place, scans, exif = 2, 0, 0
    for segments in itertools.count(1):
        found = MARKER.search(content, place)
        if not found or found[1][0] == 0xD9:  # the end
            return
        marker, place = found[1][0], found.end()
        scans += marker == 0xDA
        exif += marker == 0xE1 and content.startswith(b"Exif", place + 2)
        if scans > SCANS or segments > SEGMENTS or exif > EXIF:
            raise BadImage(
                f"a JPEG file of more than {SCANS} scans, {SEGMENTS:,} segments or {EXIF} of Exif"
            )
        if marker not in (0x01, 0xD8):  # which have no length
            place += int.from_bytes(content[place : place + 2], "big")


def convert(image: Image.Image, channels: int) -> np.ndarray:
    """The image as uint8 (height, width, channels), strip by strip."""
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
    """The image on white, and in the mode that `channels` asks for, ``L`` or ``RGB``."""
    if image.mode.startswith("I"):  # 16 bit; Pillow's conversion would cut off what is above 255
        transparent = image.info.get("transparency")
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        if transparent is not None:
            grey[grey == transparent] = 65535
        image = Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def transparent_colour(image: Image.Image) -> Any:
    """The colour that a PNG calls transparent, as pixels have it once they are decoded; None where
    there is none, or Pillow gives it right.

    Pillow leaves it in the file's own depth (PNG specification, 11.3.2.1), of which only so many
    bits count, and brings pixels of 1, 2 and 4 bits to 8.
    """
    colour = image.info.get("transparency")
    scale = {"1": 255, "L;2": 85, "L;4": 17, "L": 1, "RGB": 1}.get(stored_as(image))
    if colour is None or scale is None:
        return None
    most = 255 // scale
    if isinstance(colour, tuple):
        return tuple(value & most for value in colour)
    return (colour & most) * scale


def find_transparent_16_bit(content: bytes, image: Image.Image) -> np.ndarray | None:
    """Where a PNG of three times 16 bits has the colour that it calls transparent, 255 there and 0
    elsewhere, uint8 (height, width); None for any other. Pillow keeps the upper byte of each value
    alone, so that other colours would count as transparent too: here the lower ones are read."""
    colour = image.info.get("transparency")
    if colour is None or stored_as(image) != "RGB;16B":
        return None
    with Image.open(BytesIO(content), formats=FORMATS) as lower:
        lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]  # bytes swapped
        halves = ((image, 8), (lower, 0))
        found = np.full((image.height, image.width), 255, np.uint8)
        for half, shift in halves:
            for band, value in zip(half.split(), colour):
                found[np.asarray(band) != (value >> shift & 255)] = 0
    return found


def stored_as(image: Image.Image) -> str | None:
    """How Pillow unpacks a line of pixels of a PNG that is not decoded yet; None for any other
    image, and for one of a palette."""
    if image.format != "PNG" or image.mode == "P" or not image.tile:
        return None
    stored = image.tile[0].args
    return stored if isinstance(stored, str) else stored[0]


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 (upright) where there is none, or EXIF is damaged."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # as above; the pixels are good all the same
        return 1
