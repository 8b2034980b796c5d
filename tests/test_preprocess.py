"""Resizing and normalisation of a few pixels, compared with values worked out by hand."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.example import load_example

from stages.images.resize import resize
from stages.preparation.preprocessing import compute_rescaling, require_one_size
from stages.runtime.errors import UserError

CHOSEN = load_example().preprocess
WIDE = np.array([[10, 20, 30, 40], [50, 60, 70, 80]], np.uint8)[..., np.newaxis]  # 2 high, 4 wide


def chosen(**changes: Any) -> Any:
    return CHOSEN.model_copy(update={"interpolation": "box", **changes})


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [
        ("stretch", [[15, 35], [55, 75]]),  # pairs of neighbours in a row become their mean
        ("crop", [[20, 30], [60, 70]]),  # the square in the middle
    ],
)
def test_a_wide_picture_becomes_a_square(aspect: str, expected: list[list[int]]):
    assert resize(WIDE, chosen(image_size=2, aspect=aspect))[..., 0].tolist() == expected


def test_padding_puts_borders_of_the_stated_grey_above_and_below():
    square = resize(WIDE, chosen(image_size=4, aspect="pad", pad_value=7))[..., 0]
    assert square.tolist() == [[7] * 4, [10, 20, 30, 40], [50, 60, 70, 80], [7] * 4]
    colour = resize(np.repeat(WIDE, 3, axis=2), chosen(image_size=4, aspect="pad", pad_value=200))
    assert (
        colour.shape == (4, 4, 3)
        and np.all(colour[0] == 200)
        and colour[1, 0].tolist() == [10, 10, 10]
    )


def test_colours_become_grey_and_grey_becomes_colours():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    # 0.299, 0.587, 0.114 of 255
    assert resize(colours, chosen(channels=1)).tolist() == [[[76], [150], [29]]]
    assert resize(WIDE, chosen(channels=3)).tolist() == np.repeat(WIDE, 3, axis=2).tolist()
    assert resize(WIDE, chosen()) is WIDE


def test_a_picture_of_the_right_size_keeps_its_bytes():
    square = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    assert all(
        resize(square, chosen(image_size=5, aspect=aspect)) is square
        for aspect in ("stretch", "crop", "pad")
    )


def test_images_are_interpolated_as_by_pillow():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for name in ("nearest", "bilinear", "bicubic", "lanczos"):
        expected = np.asarray(
            Image.fromarray(picture).resize((4, 4), Image.Resampling[name.upper()])
        )
        assert np.array_equal(resize(picture, chosen(image_size=4, interpolation=name)), expected)


def test_images_of_differing_sizes_need_a_size():
    one, other = {"min": 3, "max": 3}, {"min": 2, "max": 4}
    require_one_size({"height": one, "width": one})
    with pytest.raises(UserError, match=r"width is 2 to 4(?s:.*)preprocess.image_size"):
        require_one_size({"height": one, "width": other})


def test_the_constants_of_each_normalisation_are_right():
    train = np.random.default_rng(0).integers(0, 256, (1500, 2, 2, 3), np.uint8)
    pixel = train.astype(float)
    expected = {
        "unit": pixel / 255,
        "unit_twice": pixel / 255 / 255,
        "symmetric": pixel / 127.5 - 1,
        "standard": (pixel - pixel.mean(axis=(0, 1, 2))) / pixel.std(axis=(0, 1, 2)),
        "none": pixel,
    }
    for name, values in expected.items():
        constants = compute_rescaling(name, train)
        assert np.allclose(pixel * constants["scale"] + constants["offset"], values)


def test_a_constant_channel_is_not_amplified():
    train = np.random.default_rng(0).integers(0, 256, (30, 2, 2, 3), np.uint8)
    train[..., 1] = 7
    constants = compute_rescaling("standard", train)
    assert (constants["scale"][1], constants["offset"][1]) == (1, -7)
