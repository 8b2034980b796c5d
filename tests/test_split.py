"""The split of the images, against numbers worked out by hand, Keras's own functions and made-up
duplicates."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.example import load_example

from stages.preparation import parts as split
from stages.preparation.duplicates import LISTED, drop_copies, find_duplicates, group_equal
from stages.preparation.parts import choose_parts, have_common_images
from stages.preparation.splitting import limit_part, split_directory, split_last, split_off
from stages.runtime.errors import UserError
from stages.storage import files

CHOSEN = load_example().split
FLOWERS = (764, 1052, 784, 733, 984)  # images of daisy, dandelion, rose, sunflower, tulip


def raw(
    *counts: int,
    validation: int = 0,
    test: int = 0,
    order: int | None = None,
    names: list[str] | None = None,
) -> Any:
    """A data set with `counts` images of the classes, all different, shuffled by `order`; the last
    `test` are for testing, and the `validation` before them for validation."""
    labels = np.repeat(np.arange(len(counts)), counts)
    if order is not None:
        labels = np.random.default_rng(order).permutation(labels)
    return SimpleNamespace(
        labels=labels,
        train=len(labels) - validation - test,
        validation=validation,
        class_names=[f"class{n}" for n in range(len(counts))],
        names=names,
        digests=np.arange(len(labels), dtype="<u8").view(np.uint8).reshape(-1, 8),
        name="made-up",
        dataset={"name": "made-up"},
    )


def chosen(**changes: Any) -> Any:
    return CHOSEN.model_copy(update=changes)


def test_each_part_gets_its_share_of_each_class():
    data = raw(50, 100, 200, test=0, order=1)
    parts = choose_parts(data, chosen(test=0.2, validation=0.25), seed=3)
    assert {part: np.bincount(data.labels[index]).tolist() for part, index in parts.items()} == {
        "test": [10, 20, 40],
        "validation": [10, 20, 40],
        "train": [30, 60, 120],
    }
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(350))
    again, other = (choose_parts(data, chosen(test=0.2, validation=0.25), seed) for seed in (3, 4))
    assert all(np.array_equal(parts[part], again[part]) for part in parts)
    assert not np.array_equal(parts["validation"], other["validation"])


def test_another_seed_is_tested_on_the_same_images():
    data, options = raw(50, 100, 200, test=0, order=1), {"test": 0.2, "validation": 0.25}
    for more in ({}, {"limit_test": 40}, {"limit_test": 40, "method": "test"}):
        options |= more
        one, other = (choose_parts(data, chosen(**options), seed) for seed in (3, 4))
        assert np.array_equal(one["test"], other["test"])
    both = choose_parts(
        data, chosen(method="test", test=0.2, limit_validation=40, limit_test=40), seed=3
    )
    assert np.array_equal(both["validation"], both["test"])
    # but trained and validated on others, even where the source brings the parts
    brought = raw(60, 60, validation=40, test=20, order=1)
    limits = {"limit_train": 20, "limit_validation": 20, "limit_test": 10}
    one, other = (choose_parts(brought, chosen(**limits), seed) for seed in (3, 4))
    equal = {part: np.array_equal(one[part], other[part]) for part in one}
    assert equal == {"train": False, "validation": False, "test": True}


def test_the_test_part_of_the_source_is_kept():
    parts = choose_parts(raw(40, 40, test=20, order=1), CHOSEN, seed=0)
    assert parts["test"].tolist() == list(range(60, 80))


def test_the_validation_part_of_the_source_is_kept(tmp_path: Path):
    data = raw(60, 60, validation=20, test=20, order=1)
    parts = choose_parts(data, CHOSEN, seed=0)
    assert [parts[part].tolist() for part in ("train", "validation", "test")] == [
        list(range(80)),
        list(range(80, 100)),
        list(range(100, 120)),
    ]
    same = choose_parts(data, chosen(method="test"), seed=0)
    assert same["validation"].tolist() == same["test"].tolist() == list(range(100, 120))
    for method, written in (("stratified", "source"), ("test", "test")):
        split.write(data, chosen(method=method), 0, tmp_path / method)
        assert files.read_json(tmp_path / method / "split.json")["method"] == written
    cut = choose_parts(raw(60, 60, validation=20, order=1), chosen(test=0.2), seed=0)
    assert cut["validation"].tolist() == list(range(100, 120))
    assert sorted([*cut["train"], *cut["test"]]) == list(range(100)) and len(cut["test"]) == 20


def test_directory_cuts_the_flowers_as_the_document_saw_it():
    data = raw(*FLOWERS)
    parts = choose_parts(
        data, chosen(method="directory", validation=0.2, test="validation"), seed=1337
    )
    assert np.bincount(data.labels[parts["validation"]]).tolist() == [137, 234, 151, 150, 191]
    assert len(parts["train"]) == 3454 and np.array_equal(parts["test"], parts["validation"])


def test_directory_agrees_with_keras_on_real_files(tmp_path: Path):
    from keras.src.utils.dataset_utils import get_training_or_validation_split, index_directory

    names = [
        "a/1.png",
        "a/10.png",
        "a/2.png",
        "a/Z.png",
        "a/x/1.png",
        "b/2.png",
        "b/10.png",
        "b/y.png",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files, labels, _ = index_directory(
        str(tmp_path), "inferred", (".png",), shuffle=True, seed=5, verbose=False
    )
    data = raw(5, 3, names=names)
    parts = dict(zip(("training", "validation"), split_directory(np.arange(8), data, 0.3, seed=5)))
    for subset, index in parts.items():
        expected, _ = get_training_or_validation_split(files, labels, 0.3, subset)
        assert [str(tmp_path / names[place]) for place in index] == expected


@pytest.mark.parametrize(
    ("count", "fraction"), [(60_000, 0.3), (10, 0.25), (7, 0.1), (1000, 0.7), (9, 1 / 3)]
)
def test_last_cuts_where_keras_cuts(count: int, fraction: float):
    from keras.src.trainers.data_adapters.array_slicing import train_validation_split

    expected = train_validation_split((np.arange(count),), fraction)
    assert [part.tolist() for part in split_last(np.arange(count), None, fraction, seed=0)] == [
        np.asarray(part).tolist() for (part,) in expected
    ]


def test_last_takes_the_last_images_even_after_a_test_part_was_drawn():
    data = raw(50, 50, order=1)
    parts = choose_parts(data, chosen(method="last", test=0.2, validation=0.25), seed=0)
    assert parts["train"].max() < parts["validation"].min()


def test_the_validation_part_may_be_the_test_or_training_part():
    data = raw(40, 40, test=20, order=1)
    as_test, as_training = (
        choose_parts(data, chosen(method=method), seed=0) for method in ("test", "training")
    )
    assert np.array_equal(as_test["validation"], as_test["test"]) and len(as_test["train"]) == 60
    assert np.array_equal(
        as_training["validation"], as_training["train"]
    ) and not have_common_images(as_training["train"], as_training["test"])
    for source, limit in ((data, None), (data, 20), (raw(60, 40), 20), (raw(60, 40), None)):
        split = chosen(method="training", limit_train=30, limit_validation=limit)
        if source is not data:
            split = split.model_copy(update={"test": "validation"})
        limited = choose_parts(source, split, seed=0)
        assert len(limited["train"]) == 30 and len(limited["validation"]) == (limit or 30)
        assert set(limited["validation"]) <= set(limited["train"])
        assert source is data or np.array_equal(limited["validation"], limited["test"])
    with pytest.raises(UserError, match="made-up brings no test images"):
        choose_parts(raw(40, 40), chosen(method="test", test="validation"), seed=0)


@pytest.mark.parametrize("fraction", [0.1, 0.9])
@pytest.mark.parametrize("counts", [(1000, *[4] * 10), (100, 100, 3, 3, 3), (20, 2)])
def test_a_class_whose_share_rounds_to_none_has_an_image_in_each_part(
    counts: tuple[int, ...], fraction: float
):
    data = raw(*counts)
    index = np.arange(len(data.labels))
    rest, taken = split_off(index, data, "stratified", "validation", fraction, seed=0)
    assert set(data.labels[rest]) == set(data.labels[taken]) == set(data.labels)
    assert np.array_equal(np.sort([*rest, *taken]), index)
    assert len(taken) == math.ceil(fraction * len(index))


@pytest.mark.parametrize(
    ("counts", "method", "fraction", "named"),
    [
        ((20, 1), "stratified", 0.2, "class1 has 1 of the 21"),
        ((5, 5), "stratified", 0.1, "fewer than the 2 classes"),  # one image for two classes
        # sorted by class: the end holds one class alone
        ((30, 10), "last", 0.25, "class0 has 30 of the 40 .* where split.method last cuts"),
    ],
)
def test_the_reason_why_a_class_lacks_images_in_a_part_is_named(
    counts: tuple[int, ...], method: str, fraction: float, named: str
):
    data = raw(*counts)
    with pytest.raises(UserError, match=named) as error:
        split_off(np.arange(len(data.labels)), data, method, "validation", fraction, seed=0)
    assert "split.validation" in str(error.value)


def test_a_limit_keeps_the_balance_of_classes():
    labels = np.repeat([0, 1, 2], [100, 200, 1])
    kept = limit_part(np.arange(301), labels, 30, 0, "limit_train")
    assert np.bincount(labels[kept]).tolist() == [10, 19, 1] and len(set(kept)) == 30
    assert limit_part(np.arange(301), labels, 400, 0, "limit_train").tolist() == list(range(301))


@pytest.fixture
def rare() -> Any:
    """300 images of one class and 6 of another."""
    return raw(300, 6, order=0)


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_stays_in_each_part_that_is_limited(
    rare: Any, tmp_path: Path, capsys: pytest.CaptureFixture, seed: int
):
    small = chosen(limit_train=10, limit_validation=5, limit_test=5)
    split.write(rare, small, seed, tmp_path / "split")
    parts = files.read_json(tmp_path / "split/split.json")["parts"]
    assert [part["images"] for part in parts.values()] == [10, 5, 5]
    assert [part["classes"]["class1"] for part in parts.values()] == [1, 1, 1]
    assert "note: " in capsys.readouterr().err  # so few images choose nearly by chance


@pytest.mark.parametrize(
    ("change", "options", "named"),
    [
        (  # all images of the class are equal: none is left to train
            lambda data: data.digests.__setitem__(data.labels == 1, 7),
            {"deduplicate": True},
            ["'class1'", "train set", "split.deduplicate", "4 training"],
        ),
        (  # the test images of the source are of one class alone
            lambda data: setattr(data, "train", 306 - int(np.argmax(data.labels[::-1]))),
            {},
            ["'class1'", "test set", "datasets.made-up.source"],
        ),
        (  # these are the validation images too
            lambda data: setattr(data, "train", 306 - int(np.argmax(data.labels[::-1]))),
            {"method": "test"},
            ["'class1'", "the test images", "datasets.made-up.source"],
        ),
        (lambda data: None, {"limit_test": 1}, ["limit_test", "2 classes"]),
    ],
)
def test_a_class_without_images_in_a_part_is_refused(
    rare: Any, tmp_path: Path, change: Any, options: dict[str, Any], named: list[str]
):
    change(rare)
    with pytest.raises(UserError) as error:
        split.write(rare, chosen(**options), 0, tmp_path / "split")
    assert all(part in str(error.value) for part in named), error.value
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("deduplicate", [False, True])
def test_copies_across_parts_and_contradicting_classes_are_reported(
    rare: Any, tmp_path: Path, capsys: pytest.CaptureFixture, deduplicate: bool
):
    small = chosen(deduplicate=deduplicate)
    parts = choose_parts(rare, small, 0)
    split.write(rare, small, 0, tmp_path / "unique")
    assert "note: " not in capsys.readouterr().err
    rare.digests[parts["train"][0]] = rare.digests[parts["test"][0]]
    first, second = np.flatnonzero(rare.labels == 1)[0], np.flatnonzero(rare.labels == 0)[0]
    rare.digests[first] = rare.digests[second]
    split.write(rare, small, 0, tmp_path / "copies")
    notes = capsys.readouterr().err
    assert bool(re.search(r"\b1 of the training set.* test set", notes)) == (not deduplicate)
    assert re.search(r"\b2 images .* another class", notes)


def test_duplicates_are_found_and_kept_out_of_training():
    #           0  1  2  3  4 | 5  6 | 7  8  9      train | validation | test
    content = [1, 2, 2, 3, 4, 3, 5, 1, 6, 6]
    group = group_equal(np.array(content, np.uint8)[:, np.newaxis] * np.ones((1, 16), np.uint8))
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 0, 1, 1])
    parts = {"train": np.arange(5), "validation": np.array([5, 6]), "test": np.array([7, 8, 9])}
    found = find_duplicates(parts, group, labels)
    assert found["within"] == {"train": 1, "validation": 0, "test": 1}
    assert found["across"] == {"train_validation": 1, "train_test": 1, "validation_test": 0}
    assert found["pairs"] == [
        {"train": 3, "validation": 5, "same_class": False},
        {"train": 0, "test": 7, "same_class": True},
    ]
    assert found["conflicting"] == {"images": 2, "groups": [[3, 5]]}
    assert drop_copies(parts, group).tolist() == [1, 2, 4]


def test_an_image_in_two_parts_is_no_duplicate_of_itself():
    every = np.arange(4)
    parts = {"train": every, "validation": every, "test": every}
    group = np.array([0, 1, 2, 3])
    assert find_duplicates(parts, group, group)["across"] == {
        "train_validation": 0,
        "train_test": 0,
        "validation_test": 0,
    }
    assert drop_copies(parts, group).tolist() == every.tolist()


def test_the_list_of_pairs_is_limited_and_the_count_is_not():
    many = LISTED + 5
    parts = {
        "train": np.arange(many),
        "validation": np.arange(many, 2 * many),
        "test": np.array([2 * many]),
    }
    group = np.array([*range(many), *range(many), many])
    found = find_duplicates(parts, group, np.zeros(2 * many + 1, int))
    assert len(found["pairs"]) == LISTED and found["across"]["train_validation"] == many
