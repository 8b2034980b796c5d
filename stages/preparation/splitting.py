"""Ways to split images in two, and to keep fewer: no side is without a class."""

from dataclasses import dataclass
from math import floor
from pathlib import PurePath

import numpy as np

from stages.runtime.errors import UserError

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
    labels = data.labels[index]
    counts = np.bincount(labels, minlength=len(data.class_names))
    images = f"the {len(index):,} images from which the {part} set is taken"
    try:
        pair = METHODS[method](index, data, fraction, seed)
    except ValueError:  # of `split_stratified`
        fault = explain_unstratified(counts, data.class_names, images, part, fraction)
        raise UserError(fault) from None
    missing = np.setdiff1d(labels, np.intersect1d(*(data.labels[side] for side in pair)))
    if len(missing):
        raise UserError(
            f"class {data.class_names[missing[0]]} has {counts[missing[0]]:,} of {images}, all on "
            f"one side of where split.method {method} cuts ({fraction:g}).\n"
            f"       Change split.method or split.{part} in params.yaml; stratified takes a share "
            "of each class"
        )
    return pair


def explain_unstratified(
    counts: np.ndarray, class_names: list[str], images: str, part: str, fraction: float
) -> str:
    """Why the stratified split of `images` failed, of which `counts` says how many each class has,
    and what to do."""
    if 1 in counts:
        single = class_names[np.argmax(counts == 1)]
        return (
            f"class {single} has 1 of {images}: too few for an image in that set and one outside "
            f"it.\n       Add images of this class or leave it out, or change split.{part} in "
            "params.yaml"
        )
    return (
        f"split.{part} is {fraction:g}: of {images}, that set or the rest would have fewer than "
        f"the {np.count_nonzero(counts)} classes.\n"
        f"       Change split.{part} in params.yaml, or add images"
    )


def limit_part(
    index: np.ndarray, labels: np.ndarray, limit: int | None, seed: int, key: str
) -> np.ndarray:
    """A stratified sample of at most `limit` of `index`, drawn with `seed`, in which each class has
    an image; None keeps all. Raises `UserError` naming `key` if the limit is smaller than the
    number of classes."""
    if limit is None or limit >= len(index):
        return index
    if limit < (classes := len(np.unique(labels[index]))):
        raise UserError(f"split.{key}: {limit} is too few for {classes} classes: raise it")
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
