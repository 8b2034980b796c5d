"""Read pre-trained weights from HDF5 files: arrays alone, and only those that are needed.

Three layouts are read: that of the weights that ``keras.applications`` publishes, a whole model in
this layout (Keras's ``.h5``), and Keras 3's ``.weights.h5``. Nothing in a file is executed or
followed: no pickle, no Lambda layer, no link, no data in other files; shapes are compared before
numbers are read.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path

import h5py
import numpy as np

from stages.runtime.errors import UserError
from stages.runtime.text import printable

SIGNATURE = b"\x89HDF\r\n\x1a\n"
OTHERS = {  # the first bytes of files that are mistaken for weights
    b"<": "a web page, such as a site sends in place of a file",
    b"\x80": "a pickle, which could run any program: it is not opened",
    b"PK": "a zip archive, such as a .keras file: save the weights alone, by save_weights",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself",
}
DAMAGE = (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError)

# a layer's class name in snake case, and the shapes of its weights; None: any, they are not read
Layer = tuple[str, list[tuple[int, ...]] | None]


def check_signature(path: Path) -> None:
    """Raise `UserError` unless the file at `path` begins with the HDF5 signature."""
    with open(path, "rb") as file:
        begin = file.read(64)
    if not begin.startswith(SIGNATURE):
        what = next(
            (text for start, text in OTHERS.items() if begin.lstrip().startswith(start)), ""
        )
        raise UserError(f"{path} is not an HDF5 file" + (f" but {what}" if what else ""))


def read(path: Path, layers: list[Layer]) -> list[list[np.ndarray]]:
    """Read the weights of each of `layers`, float32, in their order; `layers` are the network's
    layers that have weights.

    Raises `UserError` if the file is damaged, or was saved from another network.
    """
    check_signature(path)
    try:
        with h5py.File(path, "r") as file:
            found = list(find_datasets(file, layers))
            compare(found, layers)
            values = [
                [np.asarray(one[()], np.float32) for one in ones] if shapes is not None else []
                for ones, (_, shapes) in zip(found, layers)
            ]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except DAMAGE as error:
        raise UserError(
            f"{path} is damaged, or holds no weights of Keras: {printable(error)}"
        ) from None
    for number, arrays in enumerate(values):
        if not all(np.isfinite(array).all() for array in arrays):
            raise UserError(f"{path} is damaged: not all weights of layer {number + 1} are numbers")
    return values


def compare(found: list[list[h5py.Dataset]], layers: list[Layer]) -> None:
    """Raise `UserError` unless `found` has the shapes of `layers`."""
    other = "it was saved from another network, or with other arguments"
    if len(found) != len(layers):
        raise UserError(
            f"weights of {len(found)} layers where the network has {len(layers)}: {other}"
        )
    for number, (ones, (kind, shapes)) in enumerate(zip(found, layers), start=1):
        if shapes is not None and (theirs := [one.shape for one in ones]) != shapes:
            raise UserError(
                f"layer {number} ({kind}) has weights of the shapes {theirs} where the network has "
                f"{shapes}: {other}"
            )


def find_datasets(file: h5py.File, layers: list[Layer]) -> Iterator[list[h5py.Dataset]]:
    """The weights of each layer that has any, in the file's order."""
    if "layers" in file and "layer_names" not in file.attrs:
        group = open_member(file, "layers")
        for name in list_saved_names([kind for kind, _ in layers], group):
            weights = open_member(group, f"{name}/vars")
            yield [open_member(weights, key) for key in sorted(weights, key=int)]
        return
    root = open_member(file, "model_weights") if "model_weights" in file else file
    for name in read_texts(root, "layer_names"):
        layer = open_member(root, name)
        if weights := read_texts(layer, "weight_names"):
            yield [open_member(layer, weight) for weight in weights]


def list_saved_names(kinds: list[str], group: h5py.Group) -> list[str]:
    """The names that Keras 3 gives layers of these `kinds` in a file: dense, dense_1 and so on;
    followed by further layers of these kinds in the `group`."""
    counts: Counter[str] = Counter()
    names = []
    for kind in kinds:
        names.append(f"{kind}_{counts[kind]}" if counts[kind] else kind)
        counts[kind] += 1
    return names + [
        name for name in group if name not in names and re.sub(r"_\d+$", "", name) in counts
    ]


def read_texts(group: h5py.Group, name: str) -> list[str]:
    """A list of strings that Keras stores as an attribute, in numbered pieces if it is long."""
    numbered = takewhile(group.attrs.__contains__, (f"{name}{number}" for number in count()))
    pieces = [name] if name in group.attrs else list(numbered)
    if not pieces:
        raise UserError(f"it has no {name}, which Keras writes")
    values = [value for piece in pieces for value in group.attrs[piece]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def open_member(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """Open the member at `path` below `group`; links to other places or files are refused."""
    for name in path.strip("/").split("/"):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{path!r} is missing, or is a link, which is not followed")
        group = group[name]
    if isinstance(group, h5py.Dataset):
        if group.external or group.is_virtual:
            raise UserError(f"{path!r} lies in another file, which is not opened")
        if group.chunks and any(map(int.__gt__, group.chunks, group.shape)):
            raise UserError(f"{path!r} is packed in pieces larger than itself")
        if group.dtype.kind not in "fiu" or group.dtype.hasobject:
            raise UserError(f"{path!r} holds no numbers but {group.dtype}")
    return group
