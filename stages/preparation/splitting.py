"""Choose the training, validation and test images; see the stage split."""

import sys
from dataclasses import dataclass
from itertools import combinations
from math import floor
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from stages.params.schema import Split
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources.raw import Raw
from stages.storage import files
from stages.storage.prepared import PARTS

# draws the test set, whatever the run's seed: runs with other seeds are tested on the same images
TEST_SEED = 1
FEW = 30  # validation images; below it, each one is worth more than 3 points of accuracy
SETS = {"train": "training", "validation": "validation", "test": "test"}  # names in messages
LISTED = 20  # pairs of equal images that split.json names
Parts = dict[str, np.ndarray]  # of each part, sorted indices into the raw images, int64 (images,)
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Labelled:
    """The images to split, without their pixels: first those for training, then those for
    validation and testing, if the source has such parts."""

    name: str
    labels: np.ndarray  # int64 (images,)
    class_names: list[str]
    train: int  # images
    validation: int
    names: list[str] | None = None  # of the files


def split_stratified(index: np.ndarray, data: Labelled, fraction: float, seed: int) -> Pair:
    """Split each class of `index` into 1 - `fraction` and `fraction`, with an image at least in
    both, drawn with `seed`. Raises ValueError, as scikit-learn does, if a class has a single image,
    or one side would have fewer images than there are classes."""
    from sklearn.model_selection import train_test_split

    pair = train_test_split(
        index, test_size=fraction, random_state=seed, stratify=data.labels[index]
    )
    for side, other in ((1, 0), (0, 1)):
        if len(np.setdiff1d(data.labels[pair[other]], data.labels[pair[side]])):  # rounded to none
            pair[side] = ensure_each_class(pair[side], index, data.labels, seed)
            pair[other] = index[~np.isin(index, pair[side])]
    return tuple(pair)


def split_last(index: np.ndarray, data: Labelled, fraction: float, seed: int) -> Pair:
    """Split off the last `fraction` of `index`, in stored order, where Keras's
    ``fit(validation_split=fraction)`` does."""
    return tuple(np.split(np.sort(index), [floor(len(index) * (1 - fraction))]))


def split_directory(index: np.ndarray, data: Labelled, fraction: float, seed: int) -> Pair:
    """Split as Keras's ``image_dataset_from_directory(validation_split=fraction, seed=seed)`` does.

    It lists the files by class, folder and name, shuffles the list with the seed, and takes its
    end. Images without file names are listed in stored order.
    """
    names = data.names
    paths = {
        place: (str(PurePath(names[place]).parent), PurePath(names[place]).name) if names else ()
        for place in index
    }
    listed = np.array(sorted(index, key=lambda place: (data.labels[place], paths[place], place)))
    np.random.RandomState(seed).shuffle(listed)
    return tuple(np.split(listed, [len(listed) - int(fraction * len(listed))]))


METHODS = {"stratified": split_stratified, "last": split_last, "directory": split_directory}


def split_off(
    index: np.ndarray, data: Labelled, method: str, part: str, fraction: float, seed: int
) -> Pair:
    """Split `fraction` of `index` off for `part`; returns the rest and that fraction. Raises
    `UserError` unless both have images of each class."""
    counts = np.bincount(data.labels[index], minlength=len(data.class_names))
    images = f"the {len(index):,} images from which the {part} set is taken"
    try:
        pair = METHODS[method](index, data, fraction, seed)
    except ValueError:  # of `split_stratified`
        missing = np.flatnonzero(counts == 1)
        if not len(missing):
            raise UserError(
                f"split.{part} is {fraction:g}: of {images}, that set or the rest would have "
                f"fewer than the {np.count_nonzero(counts)} classes.\n"
                f"       Change split.{part} in params.yaml, or add images"
            ) from None
    else:
        missing = np.setdiff1d(
            data.labels[index], np.intersect1d(*(data.labels[side] for side in pair))
        )
    if len(missing):
        problem = f"class {data.class_names[missing[0]]} has {counts[missing[0]]:,} of {images}"
        if method == "stratified":
            raise UserError(
                f"{problem}: too few for an image in that set and one outside it.\n"
                f"       Add images of this class or leave it out, or change split.{part} in "
                "params.yaml"
            )
        raise UserError(
            f"{problem}, all on one side of where split.method {method} cuts ({fraction:g}).\n"
            f"       Change split.method or split.{part} in params.yaml; stratified takes a share "
            "of each class"
        )
    return pair


def choose_parts(data: Labelled, split: Split, seed: int) -> Parts:
    """Choose the three parts by the section ``split``; a validation or test set of the source is
    kept as it is. `seed` draws the validation set, and the images that the limits keep of it and of
    the training set. Raises `UserError` if the images do not allow it.
    """
    train, validation, test = np.split(
        np.arange(len(data.labels)), np.cumsum([data.train, data.validation])
    )
    if not len(test) and split.test != "validation":
        train, test = split_off(train, data, "stratified", "test", split.test, TEST_SEED)
    if split.method == "test" and not len(test):
        raise UserError(
            f"split: method is test, test is validation, and {data.name} brings no test images: "
            "each part would be the other one.\n"
            "       Choose another split.method, or give a fraction as split.test"
        )
    if split.method == "test":
        validation = test
    elif split.method == "training":
        validation = train
    elif not len(validation):
        train, validation = split_off(
            train, data, split.method, "validation", split.validation, seed
        )
    if not len(test):
        test = validation
    if split.method == "training":  # validation images are among those that are trained on
        is_shared = test is validation
        train = limit_part(train, data.labels, split.limit_train, seed, "limit_train")
        validation = limit_part(
            train, data.labels, split.limit_validation, seed, "limit_validation"
        )
        test = validation if is_shared else test
    limits = (split.limit_train, split.limit_validation, split.limit_test)
    seeds = (seed, TEST_SEED if validation is test else seed, TEST_SEED)
    return {
        part: np.sort(limit_part(index, data.labels, limit, part_seed, f"limit_{part}"))
        for part, index, limit, part_seed in zip(PARTS, (train, validation, test), limits, seeds)
    }


def limit_part(
    index: np.ndarray, labels: np.ndarray, limit: int | None, seed: int, key: str = "limit_*"
) -> np.ndarray:
    """A stratified sample of at most `limit` of `index`, drawn with `seed`, in which each class has
    an image; None keeps all. Raises `UserError` naming `key` if the limit is smaller than the
    number of classes."""
    if limit is None or limit >= len(index):
        return index
    if limit < (classes := len(np.unique(labels[index]))):
        raise UserError(f"split.{key}: {limit} images are too few for {classes} classes: raise it")
    from sklearn.utils import resample

    kept = resample(
        index, replace=False, n_samples=limit, stratify=labels[index], random_state=seed
    )
    return ensure_each_class(kept, index, labels, seed)


def ensure_each_class(
    kept: np.ndarray, index: np.ndarray, labels: np.ndarray, seed: int
) -> np.ndarray:
    """`kept`, a sample of `index`, with an image of each class of `index`: for a class whose share
    rounds to none, an image drawn with `seed` replaces one of the largest class."""
    kept, draw = kept.copy(), np.random.default_rng(seed)
    for missing in np.setdiff1d(labels[index], labels[kept]):
        largest = np.bincount(labels[kept]).argmax()
        place = draw.choice(np.flatnonzero(labels[kept] == largest))
        kept[place] = draw.choice(index[labels[index] == missing])
    return kept


def brings_validation(data: Labelled, split: Split) -> bool:
    """Whether the source's own validation set is used."""
    return data.validation > 0 and split.method in METHODS


def refuse_missing(parts: Parts, data: Labelled, split: Split, removed: int) -> None:
    """Raise `UserError` unless each class has an image in each of the final `parts`; `removed`
    training images were left out as copies."""
    brought = {
        "train": False,
        "validation": brings_validation(data, split),
        "test": data.train + data.validation < len(data.labels),
    }
    for part, index in parts.items():
        counts = np.bincount(data.labels[index], minlength=len(data.class_names))
        if counts.all():
            continue
        name = data.class_names[counts.argmin()]
        if part == "train" and removed:
            why = (
                f"split.deduplicate left out {removed:,} training images that equal images of "
                "another part: set it to false, or remove the copies from the source"
            )
        elif brought[part]:
            why = (
                f"the {part} images that {data.name} brings hold none: add some to "
                f"datasets.{data.name}.source, or leave the class out there"
            )
        else:
            why = f"raise split.limit_{part}, or change split.method" + (
                f" or split.{part}" if part != "train" else ""
            )
        raise UserError(f"split: the class {name!r} has no image in the {part} set:\n       {why}")


def group_equal(digests: np.ndarray) -> np.ndarray:
    """Number the rows of `digests`, uint8 (images, bytes), so that equal rows have equal numbers;
    returns int64 (images,)."""
    return np.unique(digests, axis=0, return_inverse=True)[1].reshape(-1)


def find_duplicates(parts: Parts, group: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Count duplicate images within each part and between parts, and list the first pairs of the
    latter. `group` numbers all raw images, equal ones equally. An image that belongs to two parts
    is not its own duplicate."""
    within = {part: len(index) - len(np.unique(group[index])) for part, index in parts.items()}
    across, pairs = {}, []
    for one, other in combinations(PARTS, 2):
        here, there = np.setdiff1d(parts[one], parts[other]), np.setdiff1d(parts[other], parts[one])
        here = here[np.isin(group[here], group[there])]
        across[f"{one}_{other}"] = len(here)
        for image in here[: LISTED - len(pairs)].tolist():
            twin = int(there[group[there] == group[image]][0])
            pairs.append(
                {one: image, other: twin, "same_class": bool(labels[image] == labels[twin])}
            )
    return {"within": within, "across": across, "pairs": pairs}


def warn_of_copies(
    duplicates: dict[str, Any], group: np.ndarray, data: Labelled, split: Split
) -> None:
    """Warn on standard error of equal images that make accuracies look too good, or that have
    different classes."""
    for pair, count in duplicates["across"].items():
        one, other = pair.split("_")
        if count and not (one == "train" and split.deduplicate):
            advice = ": split.deduplicate leaves them out" if one == "train" else ""
            print(
                f"note: {count:,} images of the {SETS[one]} set are also in the {other} set, whose "
                f"accuracy says less about new images{advice}",
                file=sys.stderr,
            )
    order = np.argsort(group, kind="stable")
    same = np.flatnonzero(np.diff(group[order]) == 0)  # equal to the next one
    conflicting = same[data.labels[order[same]] != data.labels[order[same + 1]]]
    if len(conflicting):
        count = np.isin(group, group[order[conflicting]]).sum()
        images = (int(order[conflicting[0]]), int(order[conflicting[0] + 1]))
        example = " and ".join(
            printable(data.names[image]) if data.names else f"number {image}" for image in images
        )
        print(
            f"note: {count:,} images have copies of another class, such as {example}",
            file=sys.stderr,
        )


def drop_copies(parts: Parts, group: np.ndarray) -> np.ndarray:
    """The training images that are not copies of an image in another part."""
    elsewhere = np.setdiff1d(np.concatenate([parts["validation"], parts["test"]]), parts["train"])
    return parts["train"][~np.isin(group[parts["train"]], group[elsewhere])]


def overlap(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether any image belongs to both parts."""
    return bool(np.isin(one, other).any())


def write(raw: Raw, split: Split, seed: int, folder: Path) -> None:
    """Choose the parts, and write their indices, ``PART.npy``, and split.json into the new folder
    `folder`."""
    data = Labelled(
        raw.dataset["name"], raw.labels, raw.class_names, raw.train, raw.validation, raw.names
    )
    parts = choose_parts(data, split, seed)
    group = group_equal(raw.digests)
    duplicates = find_duplicates(parts, group, raw.labels)
    kept = drop_copies(parts, group) if split.deduplicate else parts["train"]
    duplicates["removed_from_train"] = len(parts["train"]) - len(kept)
    parts["train"] = kept
    refuse_missing(parts, data, split, duplicates["removed_from_train"])
    folder.mkdir(parents=True)
    counts = {}
    for part, index in parts.items():
        np.save(folder / f"{part}.npy", index)
        class_counts = np.bincount(raw.labels[index], minlength=len(raw.class_names))
        counts[part] = {
            "images": len(index),
            "classes": dict(zip(raw.class_names, class_counts.tolist())),
        }
    description = {
        "method": "source" if brings_validation(data, split) else split.method,
        "validation_is_test": overlap(parts["validation"], parts["test"]),
        "validation_is_training": overlap(parts["validation"], parts["train"]),
        "parts": counts,
        "duplicates": duplicates,
    }
    files.write_json(folder / "split.json", description)
    print(", ".join(f"{part} {len(index):,}" for part, index in parts.items()))
    warn_of_copies(duplicates, group, data, split)
    if len(parts["validation"]) < FEW:
        print(
            f"note: the validation set has {len(parts['validation'])} images: what is chosen on "
            "it, such as the best epoch, is chosen nearly by chance",
            file=sys.stderr,
        )
