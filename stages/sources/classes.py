"""Which files behind a folder, zip or tar are images, of which class, in which part: read off their
names.

    CLASS/image             all for training; the stage split cuts the other parts from them
    train/CLASS/image       beside it val/CLASS/image, test/CLASS/image or both, whose parts they
                            then are

either of them below one wrapping folder or not. `PARTS` has the other names of these folders; where
they hold images and no class folders, they are no classes. Passed over: names that begin with a
dot, ``__MACOSX``, ``Thumbs.db``, ``desktop.ini``; films and descriptions beside photographs; a
folder that repeats what lies beside it, file by file with equal sizes (Kaggle's flowers hold
themselves once more); files outside the class folders that are not named like images (README,
licence). Everything else in a class folder is meant to be an image. A class is known by its name in
Unicode's form NFC: macOS writes é as e and an accent.
"""

import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from stages.images.naming import is_hidden, is_image_file
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources.parts import are_parts, kinds

# the parts in the order of their images, and the names of their folders, in lower case
PARTS = {
    "train": {"train", "training"},
    "validation": {"val", "valid", "validation"},
    "test": {"test", "testing"},
}


Image = tuple[int, str, str, str]  # number of its part, class, file name, name


@dataclass
class Classes:
    """The images in the order of Keras's directory loader: the training set, then the validation
    set, then the test set; inside each, classes, then names, sorted by code point."""

    # before each name to have it as in the archive: empty, or the wrapping folder and a slash
    prefix: str
    names: list[str]
    sizes: list[int]  # bytes
    labels: list[int]
    train: int
    validation: int
    class_names: list[str]
    outside: list[str]  # images by their suffix, in no class folder


def find(files: dict[str, int], folders: set[str], path: Path) -> Classes:
    """Find the images among `files`. Raises `UserError` where the folders are not as above, with
    what was found instead."""
    prefix, files, folders, stray = strip_wrapping(files, folders)
    files, folders = drop_copies(files, folders)
    parts = parts_of(folders)
    check_beside_parts(top_level(folders), parts, prefix, path)
    depth = 1 if parts else 0
    images = list_images(files, parts)
    refuse_misplaced(images, files, folders, depth, prefix, path)
    refuse_parts_as_classes(images, prefix, path)
    class_names = sorted({label for part, label, *_ in images if part == 0})
    number = {label: place for place, label in enumerate(class_names)}
    if unknown := sorted((label, name) for _, label, _, name in images if label not in number):
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
        labels=[number[label] for _, label, *_ in images],
        train=sum(part == 0 for part, *_ in images),
        validation=sum(part == 1 for part, *_ in images),
        class_names=class_names,
        outside=sorted(name for name in outside if is_image_file(name)),
    )


def strip_wrapping(
    files: dict[str, int], folders: set[str]
) -> tuple[str, dict[str, int], set[str], list[str]]:
    """The wrapping folder, with a slash; the files and folders that are not hidden, by their names
    in it; and the names of the files beside it."""
    files = {name: size for name, size in files.items() if not is_hidden(name)}
    folders = {name for name in folders if not is_hidden(f"{name}/")}
    prefix = find_wrapping(folders)
    stray = [name for name in files if not name.startswith(prefix)]
    files = {name[len(prefix) :]: size for name, size in files.items() if name.startswith(prefix)}
    folders = {name[len(prefix) :] for name in folders if name.startswith(prefix)}
    return prefix, files, folders, stray


def drop_copies(files: dict[str, int], folders: set[str]) -> tuple[dict[str, int], set[str]]:
    """The files and folders without the top folders that repeat what lies beside them."""
    files, inside = dict(files), defaultdict(list)
    for name in files:
        inside[name.partition("/")[0]].append(name)
    for top in below(folders):
        if repeats(f"{top}/", inside[top], files):
            for name in inside[top]:
                del files[name]
            folders = {name for name in folders if not f"{name}/".startswith(f"{top}/")}
    return files, folders


def list_images(files: dict[str, int], parts: dict[str, str]) -> list[Image]:
    """What lies in class folders, in the order of `Classes`."""
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
    """Raise `UserError` where files lie deeper than class folders, which are at `depth`, or where
    these hold nothing."""
    if deep := min((name for name in files if name.count("/") > depth + 1), default=None):
        raise UserError(
            f"{path}: {printable(prefix + deep)} lies deeper than expected: images are looked for "
            "in CLASS/, or in train/CLASS/, val/CLASS/ and test/CLASS/, below at most one wrapping "
            "folder"
        )
    if not images:
        raise UserError(
            f"{path} holds no class folders with images; it holds "
            f"{brief(sorted(files) + sorted(folders))}"
        )
    filled = {name.rpartition("/")[0] for *_, name in images}
    class_folders = sorted(name for name in folders if name.count("/") == depth)
    if empty := [name for name in class_folders if name not in filled]:
        raise UserError(
            f"{path}: the class folder {prefix}{empty[0]}/ holds no image: fill it, or remove it"
        )


def check_beside_parts(tops: list[str], parts: dict[str, str], prefix: str, path: Path) -> None:
    """Raises `UserError` where other folders stand beside `parts`, where two of these are the same
    part, or where they lack the training set."""
    for top in tops if parts else []:
        if part_of(top) and top not in parts:
            raise UserError(
                f"{path}: {prefix}{top}/ holds no class folders: put each image into the folder of "
                "its class"
            )
        if top not in parts:
            raise UserError(
                f"{path}: {prefix}{top}/ lies beside {prefix}{next(iter(parts))}/: only train/, "
                "val/ and test/ may stand there, with the class folders in them"
            )
    for part in PARTS:
        if len(same := [top for top in parts if parts[top] == part]) > 1:
            both = f"{prefix}{same[0]}/ and {prefix}{same[1]}/"
            raise UserError(f"{path}: {both} are both the {part} set: put them together")
    if parts and "train" not in parts.values():
        raise UserError(f"{path} holds {prefix}{next(iter(parts))}/ and no train/")


def refuse_parts_as_classes(images: list[Image], prefix: str, path: Path) -> None:
    """Raise `UserError` where the folders with images have names of parts, as in competitions that
    give the classes in a table."""
    named = [image for image in images if is_image_file(image[2])] or images
    folders = {label: name.rpartition("/")[0] for _, label, _, name in named}
    if are_parts(sorted(folders)):
        first = prefix + folders[next(filter(kinds, sorted(folders)), min(folders))]
        raise UserError(
            f"{path}: images lie directly in {first}/, whose name is a part's and not a class's. "
            "Expected is a folder for each class: CLASS/image, or train/CLASS/image, "
            "val/CLASS/image and test/CLASS/image"
        )


def find_wrapping(folders: set[str]) -> str:
    """The folder around all others, with a slash; empty where there is none."""
    tops = top_level(folders)
    wraps = len(tops) == 1 and below(folders) and not parts_of(folders)
    return tops[0] + "/" if wraps else ""


def top_level(folders: set[str]) -> list[str]:
    """The folders that lie in no other."""
    return sorted(name for name in folders if "/" not in name)


def below(folders: set[str]) -> list[str]:
    """Those of the top folders that hold folders."""
    return sorted({name.partition("/")[0] for name in folders if "/" in name})


def part_of(folder: str) -> str | None:
    """The part that a folder of this name may be."""
    return next((part for part, names in PARTS.items() if folder.lower() in names), None)


def parts_of(folders: set[str]) -> dict[str, str]:
    """The top folders that are a part, such as Train, and which one. One without folders in it is a
    class of that name, such as CIFAR-100's trains."""
    return {top: part for top in below(folders) if (part := part_of(top))}


def repeats(prefix: str, inside: list[str], files: dict[str, int]) -> bool:
    """Whether all `inside`, which is what lies below `prefix`, lies once more without it."""
    return bool(inside) and all(
        files.get(name.removeprefix(prefix)) == files[name] for name in inside
    )


def brief(names: list[str]) -> str:
    """The first of some names."""
    shown = ", ".join(f"'{printable(name)}'" for name in names[:5])
    return shown + (", …" if len(names) > 5 else "") or "nothing"
