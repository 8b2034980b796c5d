"""Equal images: between the parts, where they make accuracies look too good, and of different
classes."""

import sys
from itertools import combinations
from typing import Any

import numpy as np

from stages.params.schema import Split
from stages.preparation.splitting import Labelled, Parts
from stages.runtime.text import printable
from stages.storage.prepared import PARTS

SETS = {"train": "training", "validation": "validation", "test": "test"}  # names in messages
LISTED = 20  # pairs of equal images that split.json names


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
