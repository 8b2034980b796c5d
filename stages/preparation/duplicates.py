"""Equal images: between the parts, where they make accuracies look too good, and of different
classes."""

import sys
from itertools import combinations
from typing import Any

import numpy as np

from stages.params.schema import Split
from stages.preparation.splitting import Parts
from stages.runtime.text import printable
from stages.storage.prepared import PARTS

SETS = {"train": "training", "validation": "validation", "test": "test"}  # names in messages
LISTED = 20  # pairs, and sets of equal images of several classes, that split.json lists


def group_equal(digests: np.ndarray) -> np.ndarray:
    """Number the rows of `digests`, uint8 (images, bytes), so that equal rows have equal numbers;
    returns int64 (images,)."""
    return np.unique(digests, axis=0, return_inverse=True)[1].reshape(-1)


def find_duplicates(
    parts: Parts, group: np.ndarray, labels: np.ndarray, names: list[str] | None = None
) -> dict[str, Any]:
    """Count duplicate images within each part and between parts, and images that have copies of
    another class; list the first of the latter two, by their `names`, or else by their indices.
    `group` numbers all raw images, equal ones equally. An image that belongs to two parts is not
    its own duplicate."""

    def name(image: int) -> str | int:
        return names[image] if names else image

    within = {part: len(index) - len(np.unique(group[index])) for part, index in parts.items()}
    across, pairs = {}, []
    for one, other in combinations(PARTS, 2):
        here, there = np.setdiff1d(parts[one], parts[other]), np.setdiff1d(parts[other], parts[one])
        here = here[np.isin(group[here], group[there])]
        across[f"{one}_{other}"] = len(here)
        for image in here[: LISTED - len(pairs)].tolist():
            twin = int(there[group[there] == group[image]][0])
            same = bool(labels[image] == labels[twin])
            pairs.append({one: name(image), other: name(twin), "same_class": same})
    conflicts = find_conflicts(group, labels)
    conflicting = {
        "images": sum(map(len, conflicts)),
        "groups": [list(map(name, images)) for images in conflicts[:LISTED]],
    }
    return {"within": within, "across": across, "pairs": pairs, "conflicting": conflicting}


def find_conflicts(group: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """The sets of equal images, as indices, that have several classes."""
    order = np.argsort(group, kind="stable")
    sets = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return [
        images.tolist() for images in sets if len(images) > 1 and len(np.unique(labels[images])) > 1
    ]


def warn_of_copies(duplicates: dict[str, Any], split: Split) -> None:
    """Warn on standard error of equal images that make accuracies look too good, or that have
    different classes; `duplicates` is what `find_duplicates` returned."""
    for pair, count in duplicates["across"].items():
        one, other = pair.split("_")
        if count and not (one == "train" and split.deduplicate):
            advice = ": split.deduplicate leaves them out" if one == "train" else ""
            print(
                f"note: {count:,} of the {SETS[one]} set's images {'is' if count == 1 else 'are'} "
                f"also in the {other} set, whose accuracy says less about new images{advice}",
                file=sys.stderr,
            )
    conflicting = duplicates["conflicting"]
    if conflicting["images"]:
        example = " and ".join(
            printable(image) if isinstance(image, str) else f"number {image}"
            for image in conflicting["groups"][0][:2]
        )
        print(
            f"note: {conflicting['images']:,} images have copies of another class, such as "
            f"{example}: the data card lists them (reports/data/card.md)",
            file=sys.stderr,
        )


def drop_copies(parts: Parts, group: np.ndarray) -> np.ndarray:
    """The training images that are not copies of an image in another part."""
    elsewhere = np.setdiff1d(np.concatenate([parts["validation"], parts["test"]]), parts["train"])
    return parts["train"][~np.isin(group[parts["train"]], group[elsewhere])]
