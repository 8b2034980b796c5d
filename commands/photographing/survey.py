"""Find the photographs and their classes, and the parts into which they will be split."""

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from stages.check import refuse_unreadable
from stages.images.decode import BadImage, decode
from stages.images.naming import SUFFIXES, UNREAD
from stages.params.fields import Name
from stages.params.schema import Params, Source
from stages.preparation.parts import choose_parts, refuse_missing
from stages.preparation.splitting import Labelled, Parts
from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import archives, classes, describing, official

SPLIT = {
    "method": "stratified",
    "test": 0.2,
    "validation": 0.2,  # of the remaining images
    "limit_train": None,
    "limit_validation": None,
    "limit_test": None,
    "deduplicate": True,
}


def find_images(path: Path, name: str, options: Params) -> classes.Classes:
    """The names of the images at `path`, with their classes; `name`: of the data set. Raises
    `UserError` if no classifier can be trained on them."""
    check_entry(path, name, options.datasets)
    if not path.exists():
        raise UserError(f"{str(path)!r} does not exist: give a folder, a zip or a tar file")
    if archives.find_kind(path) is None:
        raise UserError(f"{path} is neither a folder nor a zip or tar file")
    refuse_unreadable(path)
    listed, folders = archives.survey(path, options.download.limits)
    images = classes.find(listed, folders, path)
    unread = find_unread(path, images, options)
    if options.download.on_bad_image == "skip":
        readable = {name: size for name, size in listed.items() if name not in unread}
        images = classes.find(readable, folders, path) if unread else images
    else:
        refuse_images(path, "empty, or not read", "remove them or convert them to JPEG", unread)
        what, remedy = "outside the class folders", "move them into their classes' folders"
        refuse_images(path, what, remedy, {*images.outside})
    describing.check_classes(images.class_names, str(path))
    return images


def check_entry(path: Path, name: str, datasets: dict[str, Source]) -> None:
    """Raise `UserError` if the section ``datasets`` cannot have an entry `name` for photographs at
    `path`; `datasets` is what it holds."""
    try:
        TypeAdapter(dict[Name, Source]).validate_python({name: {"source": str(path)}})
    except ValidationError as error:
        fault = error.errors()[0]
        argument = f"--name {name!r}" if "[key]" in fault["loc"] else repr(str(path))
        raise UserError(f"{argument}: {fault['msg']}") from None
    known = datasets.get(name)
    if known and Path(known.source).is_relative_to(official.FOLDER):
        raise UserError(
            f"--name {name!r}: this is the published data set {known.source}: choose another name"
        )
    if known and known.class_names:
        raise UserError(
            f"params.yaml: datasets.{name}.class_names: the classes of photographs are named by "
            "their folders: remove the key, or choose another --name"
        )


def find_unread(path: Path, images: classes.Classes, options: Params) -> set[str]:
    """The files in class folders at `path` that are certainly not read: empty ones, other formats,
    and files without a telling suffix that cannot be decoded."""
    unread, unclear = set(), {}
    for name, size in zip(images.names, images.sizes):
        if not size or name.lower().endswith(UNREAD):
            unread.add(images.prefix + name)
        elif not name.lower().endswith(SUFFIXES):
            unclear[images.prefix + name] = size
    contents = archives.read_contents(path, unclear) if unclear else ()
    for name, content in progress.track(contents, "names", "files", len(unclear)):
        try:
            decode(content, 3, options.download.limits.pixels)
        except BadImage:
            unread.add(name)
    return unread


def refuse_images(path: Path, what: str, remedy: str, images: set[str]) -> None:
    """Raise `UserError` if there are such `images` at `path`; `what`: what is wrong with them."""
    if images:
        raise UserError(
            f"{path}: images {what}: {len(images):,}, such as {printable(min(images))}: {remedy}, "
            "or leave them out with download.on_bad_image: skip"
        )


def split_images(images: classes.Classes, name: str, options: Params) -> Parts:
    """The parts as the stage split will make them. Raises `UserError` if a class has too few
    images."""
    split = options.split.model_copy(update=SPLIT)
    data = Labelled(
        name, np.array(images.labels), images.class_names, images.train, images.validation
    )
    try:
        parts = choose_parts(data, split, options.seed)
    except UserError as error:  # it names keys of params.yaml that are set here
        raise UserError(
            f"too few images for training, validation and test sets that have every class: add "
            f"images, or leave out small classes.\n       {str(error).splitlines()[0]}"
        ) from None
    refuse_missing(parts, data, split, removed=0)
    return parts
