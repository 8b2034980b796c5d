"""Which photographs there are, of which classes, and into which parts they will be split."""

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from stages.images.naming import UNREAD
from stages.params.fields import Name
from stages.params.schema import Params, Source
from stages.preparation import splitting
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
    if archives.kind_of(path) is None:
        raise UserError(f"{path} is neither a folder nor a zip or tar file")
    found = classes.find(*archives.survey(path, options.download.limits), path)
    writing.check_classes(found.class_names, str(path))
    unread = [one for one in found.names if one.lower().endswith(UNREAD)]
    if unread and options.download.on_bad_image == "error":
        raise UserError(
            f"{path}: {len(unread):,} of {len(found.names):,} images are in a format that is not "
            f"read, such as {printable(unread[0])}: convert them to JPEG, or set "
            "download.on_bad_image to skip, which leaves them out"
        )
    return found


def split_images(images: classes.Classes, name: str, options: Params) -> splitting.Parts:
    """The parts as the stage split will make them. Raises `UserError` where a class has too few
    images."""
    split = options.split.model_copy(update=SPLIT)
    data = splitting.Labelled(
        name, np.array(images.labels), images.class_names, images.train, images.validation
    )
    parts = splitting.choose_parts(data, split, options.seed)
    splitting.refuse_missing(parts, data, split, removed=0)
    return parts
