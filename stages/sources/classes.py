"""Derive the images of a folder, zip or tar, with class and part, from the files' names:

    CLASS/image             all for training; the stage split takes the other parts from them
    train/CLASS/image       with val/CLASS/image, test/CLASS/image or both beside it

either of them inside one wrapping folder or not. `stages.sources.layout.PARTS` lists other names of
these folders; one that directly holds images is not taken for a class. Ignored are names that begin
with a dot, ``__MACOSX``, ``Thumbs.db``, ``desktop.ini``; films and descriptions beside photographs;
a folder that repeats what lies beside it, file by file with equal sizes (Kaggle's flowers contain a
second copy of themselves); files outside the class folders that are not named like images (README,
licence). Everything else in a class folder must be an image. Class names are in Unicode's form NFC:
macOS writes é as e and an accent.
"""

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stages.images.naming import is_image_file
from stages.runtime.errors import UserError
from stages.sources.layout import PARTS, Layout, find_layout, quote_names
from stages.sources.parts import are_parts, find_kinds


class Image(NamedTuple):
    """A file in a class folder; they sort in the order of `Classes`."""

    part: int  # its index in `PARTS`
    label: str  # its class
    file: str  # its name in the folder
    name: str  # its name with the folders, relative to the wrapping folder

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]


@dataclass
class Classes:
    """The images in the order of Keras's directory loader: the training set, then the validation
    set, then the test set; inside each, classes, then names, sorted by code point."""

    # what precedes each name in the archive: empty, or the wrapping folder and a slash
    prefix: str
    names: list[str]
    sizes: list[int]  # bytes
    labels: list[int]
    train: int
    validation: int
    class_names: list[str]
    outside: list[str]  # files outside the class folders that are images by their suffix
    copies: list[str]  # folders that are left out, since they repeat what lies beside them


def find(files: dict[str, int], folders: set[str], path: Path) -> Classes:
    """Find the images among `files`, by name with their sizes. Raises `UserError`, which says what
    was found instead, if the folders are not as above."""
    layout = find_layout(files, folders, path)
    images = list_images(layout)
    refuse_misplaced(images, layout)
    refuse_parts_as_classes(images, layout)
    refuse_unknown_classes(images, layout)
    class_names = sorted({image.label for image in images})
    numbers = {label: number for number, label in enumerate(class_names)}
    outside = [name for name in layout.files if name.count("/") <= layout.depth]
    return Classes(
        prefix=layout.prefix,
        names=[image.name for image in images],
        sizes=[layout.files[image.name] for image in images],
        labels=[numbers[image.label] for image in images],
        train=sum(image.part == 0 for image in images),
        validation=sum(image.part == 1 for image in images),
        class_names=class_names,
        outside=sorted(
            filter(is_image_file, layout.stray + [layout.prefix + name for name in outside])
        ),
        copies=layout.copies,
    )


def list_images(layout: Layout) -> list[Image]:
    """The files in class folders, in the order of `Classes`."""
    parts, depth, images = layout.parts, layout.depth, []
    for name in layout.files:
        *folders, file = name.split("/")
        if len(folders) == depth + 1:
            part = list(PARTS).index(parts[folders[0]]) if parts else 0
            images.append(Image(part, unicodedata.normalize("NFC", folders[-1]), file, name))
    return sorted(images)


def refuse_misplaced(images: list[Image], layout: Layout) -> None:
    """Raise `UserError` if a file lies deeper than the class folders, or if one of these holds no
    image."""
    files, folders, depth = layout.files, layout.folders, layout.depth
    if deep := min((name for name in files if name.count("/") > depth + 1), default=None):
        raise UserError(
            f"{layout.path}: {layout.locate(deep)} lies deeper than expected: images belong in "
            "CLASS/, or in train/CLASS/, val/CLASS/ and test/CLASS/, inside at most one wrapping "
            "folder"
        )
    if not images:
        raise UserError(
            f"{layout.path} holds no class folders with images; it holds "
            f"{quote_names(sorted(files) + sorted(folders))}.\n"
            "       Put each image into the folder of its class, CLASS/image, and unpack archives "
            "inside"
        )
    filled = {image.folder for image in images}
    class_folders = {name for name in folders if name.count("/") == depth}
    if empty := sorted(class_folders - filled):
        raise UserError(
            f"{layout.path}: the class folder {layout.locate(empty[0])}/ holds no image: fill it, "
            "or remove it"
        )


def refuse_parts_as_classes(images: list[Image], layout: Layout) -> None:
    """Raise `UserError` if the folders with images are named after parts, as in competitions that
    list the classes in a table."""
    named = [image for image in images if is_image_file(image.file)] or images
    folders = {image.label: image.folder for image in named}
    if are_parts(sorted(folders)):
        first = folders[next(filter(find_kinds, sorted(folders)), min(folders))]
        raise UserError(
            f"{layout.path}: images lie directly in {layout.locate(first)}/, whose name is a "
            "part's and not a class's. Put them into a folder for each class: CLASS/image, or "
            "train/CLASS/image, val/CLASS/image and test/CLASS/image"
        )


def refuse_unknown_classes(images: list[Image], layout: Layout) -> None:
    """Raise `UserError` if the validation or test set has a class that the training set lacks."""
    known = {image.label for image in images if image.part == 0}
    unknown = [image for image in images if image.label not in known]
    if unknown:
        image = min(unknown, key=lambda image: (image.label, image.name))
        top = image.name.partition("/")[0]
        raise UserError(
            f"{layout.path}: the class {image.label!r} is in {layout.locate(top)}/ and not in the "
            "training set"
        )
