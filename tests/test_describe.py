"""The data card and the pictures, of a small made-up data set."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.example import load_example

from stages import describe, params
from stages.drawing import charts, pictures
from stages.params.schema import Source
from stages.storage import files

CARD = {
    "dataset": "made-up",
    "source": "somewhere.zip",
    "source_digest": "abc",
    "licence": None,
    "channels": 3,
    "height": {"min": 20, "max": 300},
    "width": {"min": 32, "max": 32},
    "skipped": [{"file": "a/broken.jpg", "reason": "cut short"}],
    "classes": 2,
    "prepared_shape": [32, 32, 3],
    "method": "stratified",
    "validation_is_test": False,
    "validation_is_training": False,
    "parts": {
        part: {"images": 1500, "classes": {"a": 1000, "b": 500}}
        for part in ("train", "validation", "test")
    },
    "duplicates": {
        "within": {"train": 3, "validation": 0, "test": 0},
        "across": {"train_validation": 2, "train_test": 0, "validation_test": 0},
        "pairs": [],
        "conflicting": {"images": 2, "groups": [["a/1.jpg", "b/2.jpg"]]},
        "removed_from_train": 2,
    },
}


def test_the_card_states_source_sizes_classes_and_duplicates():
    text = describe.format_card(CARD, augmented=False)
    for part in (
        "somewhere.zip",
        "abc",
        "not stated",
        "20–300 × 32",
        "| a | 1,000 | 1,000 | 1,000 |",
        "cut short",
        "`a/1.jpg`, `b/2.jpg`",
    ):
        assert part in text
    assert re.search("within .*training .*: 3\n", text)
    assert re.search("training .* validation .*: 2\n", text)
    assert "the same images" not in text


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        ({"validation_is_test": True}, "has images of the test set"),
        ({"validation_is_training": True}, "has images of the training set"),
        (
            {"validation_is_test": True, "validation_is_training": True},
            "has images of the test and the training set",
        ),
    ],
)
def test_the_card_warns_if_validation_has_images_of_another_part(
    flags: dict[str, bool], warning: str
):
    assert warning in describe.format_card(CARD | flags, augmented=False)


def test_class_means_average_the_images_of_each_class(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(describe, "CHUNK_BYTES", 1)  # several chunks a class
    images = np.random.default_rng(0).integers(0, 256, (11, 3, 4, 1), np.uint8)
    labels = np.array([0, 2, 0, 2, 0, 2, 0, 0, 2, 0, 2])
    means = describe.average_classes(images, labels, 3)
    assert np.array_equal(means[0], np.round(images[labels == 0].mean(axis=0)))
    assert (
        np.array_equal(means[2], np.round(images[labels == 2].mean(axis=0))) and not means[1].any()
    )


@pytest.mark.parametrize(("classes", "channels"), [(2, 3), (10, 1), (100, 3)])
def test_pictures_are_not_empty_and_have_the_same_bytes_each_time(
    tmp_path: Path, classes: int, channels: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # another test may have set a limit
    names = [f"class number {number} $x$" for number in range(classes)]
    images = np.random.default_rng(0).integers(0, 256, (classes, 5, 16, 16, channels), np.uint8)
    counts = {
        part: {name: number + 1 for number, name in enumerate(names)}
        for part in ("train", "validation", "test")
    }
    figures = {
        "samples": lambda: pictures.draw_samples(list(images), names, 0),
        "means": lambda: pictures.draw_means(images[:, 0], names, 0),
        "balance": lambda: pictures.draw_class_balance(counts),
        "augmentation": lambda: pictures.draw_augmentation(images[:2, 0], images[:2], names[:2]),
    }
    for name, draw in figures.items():
        first, second = tmp_path / f"{name}.png", tmp_path / f"{name}-again.png"
        charts.save(draw(), first)
        if classes == 2:
            charts.save(draw(), second)
            assert first.read_bytes() == second.read_bytes()
        assert np.asarray(Image.open(first).convert("L")).std() > 10  # not an empty page


def test_letters_missing_from_the_font_are_noted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    charts.note_missing_letters.cache_clear()
    images = np.zeros((2, 8, 8, 1), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("one.png", "two.png"):
            charts.save(pictures.draw_means(images, ["日本", "中国"], 0), tmp_path / name)
    assert capsys.readouterr().err.count("note: ") == 1


def test_only_the_first_of_many_classes_are_drawn_and_titles_say_so():
    names = [f"class {number}" for number in range(5000)]
    counts = {part: dict.fromkeys(names, 1) for part in ("train", "validation", "test")}
    images = np.zeros((100, 1, 8, 8, 1), np.uint8)
    figures = (
        pictures.draw_samples(list(images), names[:100], 5000),
        pictures.draw_means(images[:, 0], names[:100], 5000),
        pictures.draw_class_balance(counts),
    )
    for figure in figures:
        texts = figure.texts + ([figure._suptitle] if figure._suptitle else [])
        assert any("the first 100 of 5,000 classes" in text.get_text() for text in texts)
        assert figure.get_size_inches()[1] < 50


def test_the_stage_works_on_grey_images_validated_on_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from stages import download, preprocess, split

    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)):
        folder = tmp_path / "photographs" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    chosen = load_example()
    changes = {
        "dataset": "mine",
        "datasets": {"mine": Source(source="photographs")},
        "download": chosen.download.model_copy(update={"channels": 1}),
        "split": chosen.split.model_copy(update={"method": "test"}),
        "preprocess": chosen.preprocess.model_copy(update={"normalisation": "standard"}),
    }
    monkeypatch.setattr(params, "load", lambda: chosen.model_copy(update=changes))
    download.main("mine")
    for stage in (split, preprocess, describe):
        stage.main()
    written = {path.name for path in Path("reports/data").iterdir()}
    assert written == {
        "card.md",
        "card.json",
        "samples.png",
        "class_means.png",
        "class_balance.png",
    }
    card = Path("reports/data/card.md").read_text(encoding="utf-8")
    assert "has images of the test set" in card
    data = files.read_json(Path("data/prepared/data.json"))
    assert data["validation_is_test"] and not data["validation_is_training"]
    train = np.load("data/prepared/train.npy")  # the normalisation is measured on it alone
    (scale,), (offset,) = data["rescaling"]["scale"], data["rescaling"]["offset"]
    assert (1 / scale, -offset / scale) == pytest.approx((train.std(), train.mean()))
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", card)
    assert sorted(shown) == sorted(name for name in written if name.endswith(".png"))
