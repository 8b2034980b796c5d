"""Derive the images of a folder, zip or tar, with class and part, from the files' names:

    CLASS/image             all for training; the stage split takes the other parts from them
    train/CLASS/image       with val/CLASS/image, test/CLASS/image or both beside it

either of them inside one wrapping folder or not. `PARTS` lists other names of these folders; one
that directly holds images is not taken for a class. Ignored are names that begin with a dot,
``__MACOSX``, ``Thumbs.db``, ``desktop.ini``; films and descriptions beside photographs; a folder
that repeats what lies beside it, file by file with equal sizes (Kaggle's flowers contain a second
copy of themselves); files outside the class folders that are not named like images (README,
licence). Everything else in a class folder must be an image. Class names are in Unicode's form NFC:
macOS writes é as e and an accent.
"""

import sys
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from stages.images.naming import is_image_file
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources.parts import are_parts, find_kinds

# the parts in the order of their images, with the lower-case names of their folders
PARTS = {
    "train": {"train", "training"},
    "validation": {"val", "valid", "validation"},
    "test": {"test", "testing"},
}


Image = tuple[int, str, str, str]  # index of its part, class, file name, full name


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
    prefix, files, folders, stray = strip_wrapping(files, folders)
    files, folders, copies = drop_copies(files, folders)
    parts = find_parts(folders)
    check_beside_parts(list_top_folders(folders), parts, prefix, path)
    depth = 1 if parts else 0
    images = list_images(files, parts)
    refuse_misplaced(images, files, folders, depth, prefix, path)
    refuse_parts_as_classes(images, prefix, path)
    class_names = sorted({label for part, label, *_ in images if part == 0})
    numbers = {label: number for number, label in enumerate(class_names)}
    if unknown := sorted((label, name) for _, label, _, name in images if label not in numbers):
        label, name = unknown[0]
        raise UserError(
            f"{path}: the class {label!r} is in {prefix}{name.split('/')[0]}/ and not in the "
            "training set"
        )
    outside = [prefix + name for name in files if name.count("/") < depth + 1] + stray
    return Classes(
        prefix=prefix,
        names=[name for *_, name in images],
        sizes=[files[name] for *_, name in images],
        labels=[numbers[label] for _, label, *_ in images],
        train=sum(part == 0 for part, *_ in images),
        validation=sum(part == 1 for part, *_ in images),
        class_names=class_names,
        outside=sorted(name for name in outside if is_image_file(name)),
        copies=[f"{prefix}{top}/" for top in copies],
    )


def note_copies(images: Classes, path: Path) -> None:
    """Print the folders of the source at `path` that are left out as copies."""
    if images.copies:
        print(
            f"note: {path}: left out, since the same files lie beside it: "
            f"{format_names(images.copies)}",
            file=sys.stderr,
        )


def strip_wrapping(
    files: dict[str, int], folders: set[str]
) -> tuple[str, dict[str, int], set[str], list[str]]:
    """The wrapping folder, with a slash; the files and folders in it, by relative name; and the
    names of the files beside it."""
    prefix = find_wrapping(folders)
    stray = [name for name in files if not name.startswith(prefix)]
    files = {name[len(prefix) :]: size for name, size in files.items() if name.startswith(prefix)}
    folders = {name[len(prefix) :] for name in folders if name.startswith(prefix)}
    return prefix, files, folders, stray


def drop_copies(
    files: dict[str, int], folders: set[str]
) -> tuple[dict[str, int], set[str], list[str]]:
    """Leave out the top-level folders that repeat what lies beside them, but never a part: the
    files and folders that stay, and the names of those left out."""
    files, inside, copies = dict(files), defaultdict(list), []
    for name in files:
        inside[name.partition("/")[0]].append(name)
    for top in list_parents(folders):
        if not find_part(top) and is_copy(f"{top}/", inside[top], files):
            copies.append(top)
            for name in inside[top]:
                del files[name]
            folders = {name for name in folders if not f"{name}/".startswith(f"{top}/")}
    return files, folders, copies


def list_images(files: dict[str, int], parts: dict[str, str]) -> list[Image]:
    """The files in class folders, in the order of `Classes`."""
    depth = 1 if parts else 0
    return sorted(
        (
            list(PARTS).index(parts[pieces[0]]) if parts else 0,
            unicodedata.normalize("NFC", pieces[-2]),
            pieces[-1],
            name,
        )
        for name in files
        if len(pieces := name.split("/")) == depth + 2
    )


def refuse_misplaced(
    images: list[Image],
    files: dict[str, int],
    folders: set[str],
    depth: int,
    prefix: str,
    path: Path,
) -> None:
    """Raise `UserError` if a file lies deeper than the class folders, which are at `depth`, or if
    one of these holds no image."""
    if deep := min((name for name in files if name.count("/") > depth + 1), default=None):
        raise UserError(
            f"{path}: {printable(prefix + deep)} lies deeper than expected: images belong in "
            "CLASS/, or in train/CLASS/, val/CLASS/ and test/CLASS/, inside at most one wrapping "
            "folder"
        )
    if not images:
        raise UserError(
            f"{path} holds no class folders with images; it holds "
            f"{format_names(sorted(files) + sorted(folders))}.\n"
            "       Put each image into the folder of its class, CLASS/image, and unpack archives "
            "inside"
        )
    filled = {name.rpartition("/")[0] for *_, name in images}
    class_folders = sorted(name for name in folders if name.count("/") == depth)
    if empty := [name for name in class_folders if name not in filled]:
        raise UserError(
            f"{path}: the class folder {prefix}{empty[0]}/ holds no image: fill it, or remove it"
        )


def check_beside_parts(tops: list[str], parts: dict[str, str], prefix: str, path: Path) -> None:
    """Raise `UserError` if there are other folders beside `parts`, if two of these are the same
    part, or if the training set is missing."""
    for top in tops if parts else []:
        if find_part(top) and top not in parts:
            raise UserError(
                f"{path}: {prefix}{top}/ holds no class folders: put each image into the folder of "
                "its class"
            )
        if top not in parts:
            raise UserError(
                f"{path}: {prefix}{top}/ lies beside {prefix}{next(iter(parts))}/: only train/, "
                "val/ and test/ may be there, with the class folders inside them"
            )
    for part in PARTS:
        if len(same := [top for top in parts if parts[top] == part]) > 1:
            both = f"{prefix}{same[0]}/ and {prefix}{same[1]}/"
            raise UserError(f"{path}: {both} are both the {part} set: merge them")
    if parts and "train" not in parts.values():
        raise UserError(f"{path} holds {prefix}{next(iter(parts))}/ and no train/")


def refuse_parts_as_classes(images: list[Image], prefix: str, path: Path) -> None:
    """Raise `UserError` if the folders with images are named after parts, as in competitions that
    list the classes in a table."""
    named = [image for image in images if is_image_file(image[2])] or images
    folders = {label: name.rpartition("/")[0] for _, label, _, name in named}
    if are_parts(sorted(folders)):
        first = prefix + folders[next(filter(find_kinds, sorted(folders)), min(folders))]
        raise UserError(
            f"{path}: images lie directly in {first}/, whose name is a part's and not a class's. "
            "Put them into a folder for each class: CLASS/image, or train/CLASS/image, "
            "val/CLASS/image and test/CLASS/image"
        )


def find_wrapping(folders: set[str]) -> str:
    """The folder around all others, with a slash; empty if there is none."""
    tops = list_top_folders(folders)
    wraps = len(tops) == 1 and list_parents(folders) and not find_parts(folders)
    return tops[0] + "/" if wraps else ""


def list_top_folders(folders: set[str]) -> list[str]:
    """The folders that are in no other."""
    return sorted(name for name in folders if "/" not in name)


def list_parents(folders: set[str]) -> list[str]:
    """The top-level folders that hold folders."""
    return sorted({name.partition("/")[0] for name in folders if "/" in name})


def find_part(folder: str) -> str | None:
    """The part that a folder is by its name; None if it is not named after one."""
    return next((part for part, names in PARTS.items() if folder.lower() in names), None)


def find_parts(folders: set[str]) -> dict[str, str]:
    """The top-level folders that are parts, such as Train, each with its part. One without folders
    in it is a class of that name."""
    return {top: part for top in list_parents(folders) if (part := find_part(top))}


def is_copy(prefix: str, inside: list[str], files: dict[str, int]) -> bool:
    """Whether each name in `inside`, the files below `prefix`, also exists without `prefix`, with
    the same size."""
    return bool(inside) and all(
        files.get(name.removeprefix(prefix)) == files[name] for name in inside
    )


def format_names(names: list[str]) -> str:
    """The first names of a list, for a message."""
    shown = ", ".join(f"'{printable(name)}'" for name in names[:5])
    return shown + (", …" if len(names) > 5 else "") or "nothing"
