"""Which photographs there are, of which classes, and into which parts they will be split."""

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from stages.check import refuse_unreadable
from stages.images.decode import BadImage, decode
from stages.images.naming import SUFFIXES, UNREAD
from stages.params.fields import Name
from stages.params.schema import Params, Source
from stages.preparation import splitting
from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import archives, classes, writing

SPLIT = {
    "method": "stratified",
    "test": 0.2,
    "validation": 0.2,  # of those that are not for testing
    "limit_train": None,
    "limit_validation": None,
    "limit_test": None,
    "deduplicate": True,
}


def find_images(path: Path, name: str, options: Params) -> classes.Classes:
    """The images at `path` and their classes, by their names; `name` is to be the data set's.
    Raises `UserError` where nothing can be learnt from them."""
    try:
        TypeAdapter(dict[Name, Source]).validate_python({name: {"source": str(path)}})
    except ValidationError as error:
        fault = error.errors()[0]
        given = f"--name {name!r}" if "[key]" in fault["loc"] else repr(str(path))
        raise UserError(f"{given}: {fault['msg']}") from None
    if name in options.datasets and options.datasets[name].class_names:
        raise UserError(
            f"params.yaml: datasets.{name}.class_names: folders name the classes of photographs: "
            "remove the key, or choose another --name"
        )
    if not path.exists():
        raise UserError(f"nothing lies at {str(path)!r}: give a folder, a zip or a tar file")
    if archives.find_kind(path) is None:
        raise UserError(f"{path} is neither a folder nor a zip or tar file")
    refuse_unreadable(path)
    listed, folders = archives.survey(path, options.download.limits)
    found = classes.find(listed, folders, path)
    unread = find_unread(path, found, options)
    if options.download.on_bad_image == "skip":
        left = {one: size for one, size in listed.items() if one not in unread}
        found = classes.find(left, folders, path) if unread else found
    else:
        refuse_images(path, "empty, or not read", "remove them or convert them to JPEG", unread)
        what, remedy = "outside the class folders", "move them into their classes' folders"
        refuse_images(path, what, remedy, {*found.outside})
    writing.check_classes(found.class_names, str(path))
    return found


def find_unread(path: Path, found: classes.Classes, options: Params) -> set[str]:
    """Those of the files `found` in class folders at `path` that are certainly not read: the empty
    ones, those of other formats, and those whose name says nothing and which cannot be decoded."""
    unread, unclear = set(), {}
    for name, size in zip(found.names, found.sizes):
        if not size or name.lower().endswith(UNREAD):
            unread.add(found.prefix + name)
        elif not name.lower().endswith(SUFFIXES):
            unclear[found.prefix + name] = size
    contents = archives.read_contents(path, unclear) if unclear else ()
    for name, content in progress.track(contents, "names", "files", len(unclear)):
        try:
            decode(content, 3, options.download.limits.pixels)
        except BadImage:
            unread.add(name)
    return unread


def refuse_images(path: Path, what: str, remedy: str, images: set[str]) -> None:
    """Raise `UserError` where there are such `images` at `path`; `what` says what is wrong with
    them."""
    if images:
        raise UserError(
            f"{path}: images {what}: {len(images):,}, such as {printable(min(images))}: {remedy}, "
            "or set download.on_bad_image to skip, which leaves them out"
        )


def split_images(images: classes.Classes, name: str, options: Params) -> splitting.Parts:
    """The parts as the stage split will make them. Raises `UserError` where a class has too few
    images."""
    split = options.split.model_copy(update=SPLIT)
    data = splitting.Labelled(
        name, np.array(images.labels), images.class_names, images.train, images.validation
    )
    try:
        parts = splitting.choose_parts(data, split, options.seed)
    except UserError as error:  # which names keys of params.yaml that are set here
        raise UserError(
            f"too few images for a training, a validation and a test set with each class: add "
            f"images, or leave small classes out.\n       {str(error).splitlines()[0]}"
        ) from None
    splitting.refuse_missing(parts, data, split, removed=0)
    return parts
