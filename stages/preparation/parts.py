"""Choose the training, validation and test images; see the stage split."""

import sys
from pathlib import Path

import numpy as np

from stages.params.schema import Split
from stages.preparation.duplicates import drop_copies, find_duplicates, group_equal, warn_of_copies
from stages.preparation.splitting import METHODS, Labelled, Parts, limit_part, split_off
from stages.runtime.errors import UserError
from stages.sources.raw import Raw
from stages.storage import files
from stages.storage.prepared import PARTS

# draws the test set, whatever the run's seed: runs with other seeds are tested on the same images
TEST_SEED = 1
FEW = 30  # validation images; below it, each one is worth more than 3 points of accuracy


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
    if split.method == "test":
        if not len(test):
            raise UserError(
                f"split: method is test, test is validation, and {data.name} brings no test "
                "images: each part would be the other one.\n"
                "       Choose another split.method, or give a fraction as split.test"
            )
        validation = test
    elif split.method == "training":  # validation images are among those that are trained on
        train = limit_part(train, data.labels, split.limit_train, seed, "limit_train")
        validation = limit_part(
            train, data.labels, split.limit_validation, seed, "limit_validation"
        )
    elif not len(validation):
        train, validation = split_off(
            train, data, split.method, "validation", split.validation, seed
        )
    if not len(test):
        test = validation
    limits = (split.limit_train, split.limit_validation, split.limit_test)
    seeds = (seed, TEST_SEED if validation is test else seed, TEST_SEED)
    return {
        part: np.sort(limit_part(index, data.labels, limit, part_seed, f"limit_{part}"))
        for part, index, limit, part_seed in zip(PARTS, (train, validation, test), limits, seeds)
    }


def brings_validation(data: Labelled, split: Split) -> bool:
    """Whether the source's own validation set is used."""
    return data.validation > 0 and split.method in METHODS


def refuse_missing(parts: Parts, data: Labelled, split: Split, removed: int) -> None:
    """Raise `UserError` unless each class has an image in each of the final `parts`; `removed`
    training images were left out as copies. A part that was split off or limited has each."""
    for part, index in parts.items():
        counts = np.bincount(data.labels[index], minlength=len(data.class_names))
        if counts.all():
            continue
        name = data.class_names[counts.argmin()]
        if part == "train":
            why = (
                f"split.deduplicate left out {removed:,} training images that equal images of "
                "another part: set it to false, or remove the copies from the source"
            )
        else:
            brought = "test" if split.method == "test" else part
            why = (
                f"the {brought} images that {data.name} brings hold none: add some to "
                f"datasets.{data.name}.source, or leave the class out there"
            )
        raise UserError(f"split: the class {name!r} has no image in the {part} set:\n       {why}")


def have_common_images(one: np.ndarray, other: np.ndarray) -> bool:
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
    duplicates = find_duplicates(parts, group, raw.labels, raw.names)
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
        "validation_is_test": have_common_images(parts["validation"], parts["test"]),
        "validation_is_training": have_common_images(parts["validation"], parts["train"]),
        "parts": counts,
        "duplicates": duplicates,
    }
    files.write_json(folder / "split.json", description)
    print(", ".join(f"{part} {len(index):,}" for part, index in parts.items()))
    warn_of_copies(duplicates, split)
    if len(parts["validation"]) < FEW:
        print(
            f"note: the validation set has {len(parts['validation'])} images: what is chosen on "
            "it, such as the best epoch, is chosen nearly by chance",
            file=sys.stderr,
        )
