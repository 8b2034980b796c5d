"""How a data set gets into ``data/raw/NAME/``, in the layout that `stages.sources.raw` describes:
streamed, whole or not at all."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from stages.images.decode import BadImage, decode
from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import check_name, printable
from stages.sources.classes import Classes
from stages.sources.raw import DIGEST_BYTES, digest
from stages.storage import files

if TYPE_CHECKING:
    from stages.params.schema import Download, Limits

CHUNK = 1000  # images read at a time, at most
CHUNK_BYTES = 1 << 24  # and bytes, though one image at least
SHOWN = 20  # bad images named in a message


@dataclass
class Arrays:
    """A data set that its source holds as arrays, read in chunks."""

    shape: tuple[int, int, int, int]  # images, height, width, channels
    train: int  # how many of the images, from the first, are for training
    class_names: list[str] | None  # None: the numbers of the classes
    # uint8 (some, height, width, channels), int64 (some,)
    chunks: Iterable[tuple[np.ndarray, np.ndarray]]


def chunk_of(shape: tuple[int, ...]) -> int:
    """How many images of a shape (height, width, channels) are read at a time."""
    return int(np.clip(CHUNK_BYTES // int(np.prod(shape)), 1, CHUNK))


def refuse_large(shape: tuple[int, int, int, int], limits: "Limits", where: str) -> None:
    """Raise `UserError` where arrays of uint8 images (images, height, width, channels) exceed the
    section ``download.limits``; an image counts as a file."""
    images, height, width, channels = map(int, shape)
    image = height * width * channels
    for found, limit in (
        (images, "files"),
        (height * width, "pixels"),
        (image, "file_bytes"),
        (images * image, "total_bytes"),
    ):
        if found > (most := getattr(limits, limit)):
            raise UserError(
                f"{where}: {printable(images)} images of {printable(height)}×{printable(width)}"
                f"×{channels} are more than download.limits.{limit} allows: {most:,}"
            )


def write_arrays(folder: Path, description: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Write a data set that comes as arrays; returns what dataset.json says of it. `description` is
    the beginning of it."""
    labels, digests = [], []
    with files.replacing(folder) as partial:
        partial.mkdir()
        with (
            open(partial / "images.npy", "wb") as file,
            progress.track(None, description["name"], "images", arrays.shape[0]) as bar,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": arrays.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for images, their_labels in arrays.chunks:
                file.write(images.tobytes())
                labels.append(their_labels)
                digests += map(digest, images)
                bar.update(len(images))
        labels = np.concatenate(labels)
        _, height, width, channels = arrays.shape
        class_names = arrays.class_names or list(map(str, range(labels.max() + 1)))
        description |= describe_images(
            class_names,
            arrays.train,
            labels,
            channels,
            [(height, width)],
            [],
            description["source"],
        )
        finish(partial, description, labels, b"".join(digests))
    return description


def write_encoded(
    folder: Path,
    description: dict[str, Any],
    classes: Classes,
    contents: Iterable[tuple[str, bytes]],
    options: "Download",
    expected: dict[str, int] | None,
) -> dict[str, Any]:
    """Write a data set that comes as encoded files, given in any order; returns what dataset.json
    says of it.

    Each file is written where it belongs as it comes, so that memory holds one at a time. `options`
    is the section ``download``; `expected` says how many images of each class there must be, None
    that any number is right. Raises `UserError` for images that cannot be decoded, unless they are
    to be skipped.
    """
    source = description["source"]
    with files.replacing(folder) as partial:
        partial.mkdir()
        with open(partial / "images.bin", "w+b") as file:
            bad, digests, sizes = store_images(
                file, classes, contents, options, description["name"]
            )
            if bad and options.on_bad_image == "error":
                raise UserError(complaint(bad, source))
            kept = [
                place
                for place, name in enumerate(classes.names)
                if classes.prefix + name not in bad
            ]
            kept = np.array(kept, np.int64)
            offsets = close_gaps(file, find_offsets(classes), kept)
        skipped = [{"file": name, "reason": reason} for name, reason in sorted(bad.items())]
        labels = np.array(classes.labels, np.int64)[kept]
        train, with_validation = (
            int((kept < end).sum()) for end in (classes.train, classes.train + classes.validation)
        )
        shapes = sizes[kept].tolist()
        description |= describe_images(
            classes.class_names, train, labels, options.channels, shapes, skipped, source
        )
        if validation := with_validation - train:
            description |= {"validation": validation, "test": description["test"] - validation}
        if expected is not None:
            check_counts(classes.class_names, labels, expected, source)
        np.save(partial / "offsets.npy", offsets)
        names = "".join(classes.names[place] + "\n" for place in kept)
        (partial / "names.txt").write_text(names, encoding="utf-8", newline="\n")
        finish(partial, description, labels, digests[kept].tobytes())
    return description


def find_offsets(classes: Classes) -> np.ndarray:
    """Where in a file the content of each image begins, one behind the other, and where the last
    ends: int64 (images + 1,)."""
    return np.concatenate([[0], np.cumsum(classes.sizes)]).astype(np.int64)


def store_images(
    file: BinaryIO,
    classes: Classes,
    contents: Iterable[tuple[str, bytes]],
    options: "Download",
    name: str,
) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
    """Write each image into `file`, where it belongs, as it comes. Returns what is bad, with the
    reason; and of each good image the digest of its pixels, uint8 (images, bytes), with its height
    and width, int64 (images, 2)."""
    place_of = {name: place for place, name in enumerate(classes.names)}
    offsets = find_offsets(classes)
    digests = np.zeros((len(place_of), DIGEST_BYTES), np.uint8)
    sizes = np.zeros((len(place_of), 2), np.int64)
    bad = {name: "lies outside the class folders" for name in classes.outside}
    for full_name, content in progress.track(contents, name, "images", len(place_of)):
        place = place_of[full_name.removeprefix(classes.prefix)]
        try:
            image = decode(content, options.channels, options.limits.pixels)
        except BadImage as error:
            bad[full_name] = str(error)
            continue
        except MemoryError:
            raise MemoryError(f"for {printable(full_name)}") from None
        digests[place] = np.frombuffer(digest(image), np.uint8)
        sizes[place] = image.shape[:2]
        file.seek(offsets[place])
        file.write(content)
    return bad, digests, sizes


def check_counts(
    class_names: list[str], labels: np.ndarray, expected: dict[str, int], source: str
) -> None:
    """Raises `UserError` unless `labels`, int (images,), name as many images of each class as
    `expected`."""
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    if (found := dict(zip(class_names, counts))) != expected:
        raise UserError(
            f"{source}: it has {found} images per class, and the publisher's has {expected}"
        )


def close_gaps(file: BinaryIO, offsets: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Move what is kept together, where something was skipped; returns the new offsets."""
    moved = np.concatenate([[0], np.cumsum(np.diff(offsets)[kept])]).astype(np.int64)
    for old, new, size in zip(offsets[kept].tolist(), moved.tolist(), np.diff(moved).tolist()):
        if old != new:
            file.seek(old)
            content = file.read(size)
            file.seek(new)
            file.write(content)
    file.truncate(int(moved[-1]))
    return moved


def complaint(bad: dict[str, str], source: str) -> str:
    """The bad images by name, the first of many, and what to do about them."""
    lines = [f"{printable(name)}: {reason}" for name, reason in sorted(bad.items())]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"… and {len(lines) - SHOWN:,} more"]
    lines.append(
        "remove them from the source, or set download.on_bad_image to skip, which leaves them out"
    )
    return f"{source}: {len(bad):,} bad image{'s' * (len(bad) > 1)}\n       " + "\n       ".join(
        lines
    )


def check_classes(class_names: list[str], source: str) -> None:
    """Raise `UserError` unless there are two classes at least, with names that differ and can be
    printed."""
    for name in class_names:
        check_name(name, f"{source}: the class")
    if len(class_names) < 2:
        raise UserError(f"{source} holds one class, {class_names[0]!r}: at least two are needed")
    if len({unicodedata.normalize("NFC", name) for name in class_names}) < len(class_names):
        raise UserError(f"{source}: two classes have the same name")


def describe_images(
    class_names: list[str],
    train: int,
    labels: np.ndarray,
    channels: int,
    sizes: list[tuple[int, int]],
    skipped: list[dict[str, str]],
    source: str,
) -> dict[str, Any]:
    """What dataset.json says of the images. Raises `UserError` where the classes cannot be learnt
    from them."""
    check_classes(class_names, source)
    if labels.max(initial=0) >= len(class_names):
        raise UserError(
            f"{source}: {labels.max() + 1} classes in the labels, {len(class_names)} class names"
        )
    counts = np.bincount(labels[:train], minlength=len(class_names))
    if not counts.all():
        raise UserError(
            f"{source}: the class {class_names[counts.argmin()]!r} has no training image"
        )
    heights, widths = zip(*sizes)
    return {
        "class_names": class_names,
        "train": train,
        "test": len(labels) - train,
        "channels": channels,
        "width": {"min": min(widths), "max": max(widths)},
        "height": {"min": min(heights), "max": max(heights)},
        "skipped": skipped,
    }


def finish(folder: Path, description: dict[str, Any], labels: np.ndarray, digests: bytes) -> None:
    """Write the files that all data sets have. Of a source outside the project, dataset.json keeps
    the name alone: where it lies on one machine is no part of the data."""
    source = Path(description["source"])
    if source.is_absolute() or ".." in source.parts:
        description = description | {"source": source.name}
    np.save(folder / "labels.npy", labels)
    np.save(folder / "digests.npy", np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES))
    files.write_json(folder / "dataset.json", description)
