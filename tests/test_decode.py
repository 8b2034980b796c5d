"""Decoding images: every format, every bit depth, and bad files."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.pictures import claim_size, write_png
from support.sources import BAD_IMAGES, OPTIONS, RANDOM, encoded

from stages.images import decode as decoding
from stages.images.decode import BadImage, decode
from stages.images.naming import is_image_file


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat/1.PNG", True),
        ("cat/a.b/1.jpeg", True),
        ("cat/1.txt", False),
        ("cat/._1.png", False),
        (".cache/1.png", False),
        ("__MACOSX/cat/1.png", False),
        ("Thumbs.db", False),
    ],
)
def test_image_files_are_recognised_by_their_paths(name: str, expected: bool):
    assert is_image_file(name) == expected


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


RGB = Image.fromarray(RANDOM.integers(0, 256, (4, 5, 3), np.uint8))
GREY16 = np.array([[0, 65535], [32768, 300]], np.uint16)
HALF = Image.new("RGBA", (2, 2), (255, 0, 0, 128))


def png(depth: int, colour: int, pixels: bytes, transparent: bytes) -> bytes:
    """A PNG of two pixels, the second in the transparent colour."""
    return write_png(
        (b"IHDR", struct.pack(">2I5B", 2, 1, depth, colour, 0, 0, 0)),
        (b"tRNS", transparent),
        (b"IDAT", zlib.compress(b"\0" + pixels)),
    )


BLACK_AND_WHITE = np.uint8([[[0] * 3, [255] * 3]])


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(RGB, "PNG", exif=exif)


# 6 × 4 pixels of four colours, lossless, rotated by 90 degrees by the container
HEIC = (Path(__file__).parent / "support/turned.heic").read_bytes()
FRAMES = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]


GOOD = {  # file, and the pixels in three channels that it must decode to
    "PNG": (saved(RGB, "PNG"), np.asarray(RGB)),
    "BMP": (saved(RGB, "BMP"), np.asarray(RGB)),
    "WebP": (saved(RGB, "WEBP", lossless=True), np.asarray(RGB)),
    "JPEG": (
        saved(Image.new("RGB", (9, 7), (10, 200, 90)), "JPEG"),
        np.tile(np.uint8([10, 200, 90]), (7, 9, 1)),
    ),
    "JPEG in CMYK": (
        saved(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG"),
        np.zeros((8, 8, 3), np.uint8),
    ),
    "grey JPEG": (saved(Image.new("L", (8, 8), 77), "JPEG"), np.full((8, 8, 3), 77, np.uint8)),
    "GIF, first frame": (
        saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
        np.asarray(FRAMES[0]),
    ),
    "WebP, first": (
        saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:], lossless=True),
        np.asarray(FRAMES[0]),
    ),
    "16-bit grey": (
        saved(Image.fromarray(GREY16), "PNG"),
        np.uint8([[0, 255], [128, 1]])[..., None].repeat(3, 2),
    ),
    "black and white": (
        saved(Image.fromarray(np.array([[True, False]])), "PNG"),
        np.uint8([[[255] * 3, [0] * 3]]),
    ),
    "palette": (
        saved(Image.new("RGB", (2, 1), (9, 8, 7)).quantize(2), "PNG"),
        np.tile(np.uint8([9, 8, 7]), (1, 2, 1)),
    ),
    "palette, transparent": (
        saved(Image.new("P", (2, 1), 0), "PNG", transparency=0),
        np.full((1, 2, 3), 255, np.uint8),
    ),
    "alpha onto white": (saved(HALF, "PNG"), np.tile(np.uint8([255, 127, 127]), (2, 2, 1))),
    "grey with alpha": (
        saved(Image.new("LA", (2, 2), (0, 0)), "PNG"),
        np.full((2, 2, 3), 255, np.uint8),
    ),
    "one colour transparent": (
        saved(FRAMES[1], "PNG", transparency=(0, 0, 255)),
        np.full((3, 3, 3), 255, np.uint8),
    ),
    **{
        f"a transparent colour of {what}": (png(*made), BLACK_AND_WHITE)
        for what, made in {
            "1 bit": (1, 0, b"\x40", b"\0\1"),
            "2 bits": (2, 0, b"\x10", b"\0\1"),
            "4 bits": (4, 0, b"\x05", b"\0\5"),
            "8 bits": (8, 0, b"\0\5", b"\0\5"),
            "16 bits": (16, 0, b"\0\0\1\x09", b"\1\x09"),
            "3 × 16 bits": (16, 2, bytes(6) + b"\1\2\3\4\5\6", b"\1\2\3\4\5\6"),
            "3 × 16 bits, of which one pixel is near": (
                16,
                2,
                b"\0\2\0\4\0\6\0\2\0\4\0\7",
                b"\0\2\0\4\0\7",
            ),
            "8 bits, with more bits than count": (8, 0, b"\0\5", b"\1\5"),
            "4 bits, with more bits than count": (4, 0, b"\x05", b"\1\5"),
        }.items()
    },
    **{
        f"turned by EXIF, {number}": (
            turned(number),
            np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(turned(number))))),
        )
        for number in range(1, 9)
    },
    "HEIC, turned": (
        HEIC,
        np.rot90(
            np.uint8([[[250, 10, 20], [10, 200, 90]], [[20, 30, 240], [240, 230, 30]]])
            .repeat(2, 0)
            .repeat(3, 1),
            -1,
        ),
    ),
    "damaged EXIF": (saved(RGB, "PNG", exif=b"Exif\0\0nonsense"), np.asarray(RGB)),
}


@pytest.mark.parametrize("content, pixels", GOOD.values(), ids=GOOD)
def test_an_image_decodes_to_its_pixels(content, pixels):
    image = decode(content, 3)
    assert image.dtype == np.uint8 and image.shape == pixels.shape
    tolerance = 2 if content.startswith(b"\xff\xd8") else 0  # JPEG is lossy; the others are exact
    assert np.abs(image.astype(int) - pixels).max() <= tolerance
    grey = decode(content, 1)
    assert grey.shape == (*pixels.shape[:2], 1)
    assert np.abs(grey[..., 0] - pixels @ [0.299, 0.587, 0.114]).max() <= 3


@pytest.mark.parametrize("content, pixels", GOOD.values(), ids=GOOD)
def test_decoding_in_strips_gives_the_same_image(content, pixels, monkeypatch):
    whole = decode(content, 3)
    monkeypatch.setattr(decoding, "STRIP", 2)
    assert np.array_equal(decode(content, 3), whole)


def test_scans_of_a_jpeg_are_bounded_and_those_after_its_end_do_not_count():
    image = saved(RGB, "JPEG", progressive=True)
    last = image.rindex(b"\xff\xda")
    scan = image[last:-2]  # up to the marker of the end
    with pytest.raises(BadImage, match="scans"):
        decode(image[:last] + scan * 200 + image[-2:], 3)
    # a search in quadratic time would take hours
    decoding.refuse_segments(b"\xff\xd8" + b"\xff" * 5_000_000)
    extended = image + b"\xff\xda\x00\x02" * 200
    assert np.array_equal(decode(extended, 3), decode(image, 3))


@pytest.mark.parametrize(
    "segment", [b"\xff\xe0\x00\x02" * 80, b"\xff\xe1\x00\x08Exif\0\0"], ids=["any", "Exif"]
)
def test_segments_of_a_jpeg_are_bounded(segment: bytes):
    """Pillow's time grows with the square of their number, its memory in proportion."""
    image = saved(RGB, "JPEG")
    with pytest.raises(BadImage, match="segments"):
        decode(image[:2] + segment * 65 + image[2:], 3)


@pytest.mark.parametrize("content", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_is_refused_with_a_reason(content):
    with pytest.raises(BadImage, match="."):
        decode(content, 3, OPTIONS.limits.pixels)


def test_an_image_that_claims_more_pixels_than_allowed_is_not_decoded():
    with pytest.raises(BadImage, match="pixels"):
        decode(claim_size(50_000, 50_000), 3, OPTIONS.limits.pixels)


def test_a_heic_that_claims_fewer_pixels_than_its_stream_has_is_refused():
    """Only its claim is compared with the limit."""
    claim = HEIC.index(b"ispe") + 8
    with pytest.raises(BadImage, match="size"):
        decode(HEIC[:claim] + struct.pack(">2I", 6, 4) + HEIC[claim + 8 :], 3)


def test_an_image_cut_anywhere_decodes_whole_or_is_a_bad_image():
    kinds = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
    for content in (HEIC, *(encoded(kind, (12, 12)) for kind in kinds)):
        whole = decode(content, 3)
        for end in range(0, len(content), 7):
            try:  # perhaps only a checksum is missing
                assert np.array_equal(decode(content[:end], 3), whole)
            except BadImage:
                pass
