"""Write a data set to ``data/raw/NAME/``, in the layout that `stages.sources.raw` describes:
streamed, and atomically."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from stages.images.decode import BadImage, decode
from stages.runtime import progress, threads
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources.chunks import Arrays
from stages.sources.classes import Classes
from stages.sources.describing import (
    check_counts,
    describe_images,
    format_bad_images,
    format_labels,
    refuse_empty,
)
from stages.sources.raw import DIGEST_BYTES, digest
from stages.storage import files

if TYPE_CHECKING:
    from stages.params.schema import Download


class Checked(NamedTuple):
    """What decoding shows of an encoded image."""

    name: str  # in the source
    content: bytes
    digest: bytes  # of its pixels
    size: tuple[int, int]  # height and width in pixels
    reason: str | None = None  # why it is bad; None if it is not


def write_arrays(folder: Path, description: dict[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Write a data set that comes as arrays; returns the content of dataset.json, which begins with
    `description`, with the whole path of its source."""
    labels, digests = [], []
    with files.replacing(folder) as partial:
        partial.mkdir()
        with (
            open(partial / "images.npy", "wb") as file,
            progress.track(None, description["name"], "images", arrays.shape[0]) as bar,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": arrays.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for images, chunk_labels in arrays.chunks:
                file.write(images.tobytes())
                labels.append(chunk_labels)
                digests += map(digest, images)
                bar.update(len(images))
        labels = np.concatenate(labels)
        _, height, width, channels = arrays.shape
        used = np.unique(labels)
        names = arrays.class_names
        if used[-1] >= len(used) if names is None else used[0] > 0 and used[-1] == len(names):
            raise UserError(
                f"{description['source']}: the labels are {format_labels(used)}: they must be 0 to "
                f"{len(used) - 1}, one for each class; `numpy.unique(y, return_inverse=True)[1]` "
                "renumbers them"
            )
        class_names = names or list(map(str, range(len(used))))
        description |= describe_images(
            class_names,
            arrays.train,
            arrays.validation,
            labels,
            channels,
            [(height, width)],
            [],
            description["source"],
        )
        write_common_files(partial, description, labels, b"".join(digests))
    return description


def write_encoded(
    folder: Path,
    description: dict[str, Any],
    classes: Classes,
    contents: Iterable[tuple[str, bytes]],
    options: "Download",
    expected: dict[str, int] | None,
) -> dict[str, Any]:
    """Write a data set that comes as encoded files, in any order; returns the content of
    dataset.json, with the whole path of its source.

    Each file is written to its place as it arrives, so that memory holds a few at a time. `options`
    is the section ``download``; `expected` is the required number of images of each class, None
    for any. Raises `UserError` for images that cannot be decoded, unless they are to be skipped.
    """
    source = description["source"]
    with files.replacing(folder) as partial:
        partial.mkdir()
        with open(partial / "images.bin", "w+b") as file:
            bad, digests, sizes = store_images(
                file, classes, contents, options, description["name"]
            )
            if bad and options.on_bad_image == "error":
                raise UserError(format_bad_images(bad, source))
            kept = np.flatnonzero([classes.prefix + name not in bad for name in classes.names])
            offsets = close_gaps(file, find_offsets(classes), kept)
        left_out = bad | dict.fromkeys(classes.copies, "repeats the files beside it")
        skipped = [{"file": name, "reason": reason} for name, reason in sorted(left_out.items())]
        labels = np.array(classes.labels, np.int64)[kept]
        ends = [classes.train, classes.train + classes.validation]
        train, with_validation = np.searchsorted(kept, ends).tolist()
        validation = with_validation - train
        test = len(classes.labels) - classes.train - classes.validation
        refuse_empty("validation", classes.validation, validation, bad, source)
        refuse_empty("test", test, len(kept) - with_validation, bad, source)
        shapes = sizes[kept].tolist()
        description |= describe_images(
            classes.class_names,
            train,
            validation,
            labels,
            options.channels,
            shapes,
            skipped,
            source,
        )
        if expected is not None:
            check_counts(classes.class_names, labels, expected, source)
        np.save(partial / "offsets.npy", offsets)
        names = "".join(classes.names[place] + "\n" for place in kept)
        (partial / "names.txt").write_text(names, encoding="utf-8", newline="\n")
        write_common_files(partial, description, labels, digests[kept].tobytes())
    return description


def find_offsets(classes: Classes) -> np.ndarray:
    """The offset in images.bin at which each image begins, and at which the last ends: int64
    (images + 1,)."""
    return np.concatenate([[0], np.cumsum(classes.sizes)]).astype(np.int64)


def store_images(
    file: BinaryIO,
    classes: Classes,
    contents: Iterable[tuple[str, bytes]],
    options: "Download",
    name: str,
) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
    """Write each image to its place in `file` as it arrives. Returns the bad images with the
    reasons; and for each good one the digest of its pixels, uint8 (images, bytes), and its height
    and width, int64 (images, 2)."""
    place_of = {name: place for place, name in enumerate(classes.names)}
    offsets = find_offsets(classes)
    digests = np.zeros((len(place_of), DIGEST_BYTES), np.uint8)
    sizes = np.zeros((len(place_of), 2), np.int64)
    bad = {name: "lies outside the class folders" for name in classes.outside}

    def check(member: tuple[str, bytes]) -> Checked:
        file_name, content = member
        try:
            image = decode(content, options.channels, options.limits.pixels)
        except BadImage as error:
            return Checked(file_name, content, b"", (0, 0), str(error))
        except MemoryError:
            raise MemoryError(f"for {printable(file_name)}") from None
        return Checked(file_name, content, digest(image), image.shape[:2])

    images = threads.map_in_order(check, contents)
    for image in progress.track(images, name, "images", len(place_of)):
        if image.reason:
            bad[image.name] = image.reason
            continue
        place = place_of[image.name.removeprefix(classes.prefix)]
        digests[place] = np.frombuffer(image.digest, np.uint8)
        sizes[place] = image.size
        file.seek(offsets[place])
        file.write(image.content)
    return bad, digests, sizes


def close_gaps(file: BinaryIO, offsets: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Close the gaps that skipped images left; returns the new offsets."""
    moved = np.concatenate([[0], np.cumsum(np.diff(offsets)[kept])]).astype(np.int64)
    for old, new, size in zip(offsets[kept].tolist(), moved.tolist(), np.diff(moved).tolist()):
        if old != new:
            file.seek(old)
            content = file.read(size)
            file.seek(new)
            file.write(content)
    file.truncate(int(moved[-1]))
    return moved


def write_common_files(
    folder: Path, description: dict[str, Any], labels: np.ndarray, digests: bytes
) -> None:
    """Write the files that all data sets have. For a source outside the project, dataset.json keeps
    only the name: its path on one machine is no part of the data."""
    source = Path(description["source"])
    if source.is_absolute() or ".." in source.parts:
        description = description | {"source": source.name}
    np.save(folder / "labels.npy", labels)
    np.save(folder / "digests.npy", np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES))
    files.write_json(folder / "dataset.json", description)
