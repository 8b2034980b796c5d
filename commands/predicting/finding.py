"""Find the image files to classify."""

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from stages.images.naming import is_hidden, is_image_file

SOFTWARE = "commands.predict --explain"  # the label of the pictures that --explain writes


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to classify: the named ones, and in folders all with an image's suffix, at any
    depth, sorted. Files that operating systems leave in folders are skipped, as in training, and so
    are the pictures of an earlier --explain. Folders that cannot be listed or hold no images are
    included: `read_file` reports the fault."""
    for path in paths:
        if not is_folder(path):
            yield path
            continue
        yield from sorted(list_folder(path)) or [path]


def list_folder(path: Path) -> list[Path]:
    """The images in a folder at any depth; the folders below it that cannot be listed; and links to
    folders with images, which are not followed."""
    listed, errors = [], []
    for place, folders, names in os.walk(path, onerror=errors.append):
        folders[:] = [name for name in folders if not is_hidden(f"{name}/")]
        links = (link for name in folders if (link := Path(place, name)).is_symlink())
        listed += [link for link in links if has_images(link)]
        images = (Path(place, name) for name in names if is_image_file(name))
        listed += [image for image in images if not is_explanation(image)]
    return listed + [Path(error.filename) for error in errors]


def has_images(folder: Path) -> bool:
    """Whether a folder has an image at any depth; links below it are not followed."""
    return any(is_image_file(name) for _, _, names in os.walk(folder) for name in names)


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long
        return False


def is_explanation(path: Path) -> bool:
    """Whether --explain wrote the image file: then its name is an image's, and .png."""
    return path.suffix == ".png" and is_image_file(path.stem) and is_own(path)


def is_own(path: Path) -> bool:
    """Whether the file is a picture that --explain wrote, and so may be replaced."""
    try:
        if not path.is_file():  # a pipe might never be opened
            return False
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return picture.info.get("Software") == SOFTWARE
    except Exception:  # no permission; Pillow raises many for damaged, huge or compressed content
        return False
