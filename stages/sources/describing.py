"""What ``dataset.json`` says of the images of a data set, and what is refused in them."""

import sys
import unicodedata
from pathlib import PurePath
from typing import Any

import numpy as np

from stages.runtime.errors import UserError
from stages.runtime.text import check_name, printable

SHOWN = 20  # bad images named in a message


def check_counts(
    class_names: list[str], labels: np.ndarray, expected: dict[str, int], source: str
) -> None:
    """Raise `UserError` unless `labels`, int (images,), have the `expected` number of images of
    each class."""
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    if (actual := dict(zip(class_names, counts))) != expected:
        raise UserError(
            f"{source} has {actual} images per class; the published data set has {expected}"
        )


def refuse_empty(part: str, before: int, after: int, bad: dict[str, str], source: str) -> None:
    """Raise `UserError` if all images of a part, `before`, were skipped, and none is left `after`:
    another part would take its place unnoticed."""
    if before and not after:
        raise UserError(
            f"{source}: none of its {before:,} {part} images can be read.\n"
            f"       {format_bad_images(bad, source)}"
        )


def format_bad_images(bad: dict[str, str], source: str) -> str:
    """The message that names the bad images, at most `SHOWN`, and says what to do."""
    lines = [f"{printable(name)}: {reason}" for name, reason in sorted(bad.items())]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"… and {len(lines) - SHOWN:,} more"]
    too_large = any("download.limits.pixels" in reason for reason in bad.values())
    lines.append(
        f"remove them from the source{', raise that limit' * too_large}, or set "
        "download.on_bad_image to skip, which leaves them out"
    )
    return f"{source}: {len(bad):,} bad image{'s' * (len(bad) > 1)}\n       " + "\n       ".join(
        lines
    )


def check_classes(class_names: list[str], source: str) -> None:
    """Raise `UserError` unless there are at least two classes, with distinct, printable names."""
    for name in class_names:
        check_name(name, f"{source}: the class")
    if len(class_names) < 2:
        raise UserError(f"{source} holds one class, {class_names[0]!r}: at least two are needed")
    names = [" ".join(unicodedata.normalize("NFC", name).split()) for name in class_names]
    if equal := find_equal(names):
        first, second = (class_names[place] for place in equal)
        apart = "" if first == second else f", {first!r} and {second!r}, but for spaces"
        raise UserError(f"{source}: two classes have the same name{apart}: merge them")
    if equal := find_equal([name.casefold() for name in names]):
        first, second = (class_names[place] for place in equal)
        print(
            f"note: {source} has the classes {first!r} and {second!r}, which differ only in case",
            file=sys.stderr,
        )


def find_equal(names: list[str]) -> tuple[int, int] | None:
    """The places of the first two equal names; None if all are distinct."""
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        if first.setdefault(name, place) != place:
            return first[name], place
    return None


def format_labels(labels: np.ndarray) -> str:
    """The first of the distinct labels, for a message."""
    if len(labels) > 6:
        return f"{', '.join(map(str, labels[:5].tolist()))}, … {labels[-1]}"
    return ", ".join(map(str, labels.tolist()))


def describe_images(
    class_names: list[str],
    train: int,
    validation: int,
    labels: np.ndarray,
    channels: int,
    sizes: list[tuple[int, int]],
    skipped: list[dict[str, str]],
    source: str,
) -> dict[str, Any]:
    """What dataset.json says of the images, of which `train` are for training, and the next
    `validation` for validation. Raises `UserError` if a class has no name or no training image."""
    check_classes(class_names, source)
    if labels.max(initial=0) >= len(class_names):
        raise UserError(
            f"{source}: the labels have {labels.max() + 1} classes, but there are "
            f"{len(class_names)} class names"
        )
    counts = np.bincount(labels[:train], minlength=len(class_names))
    if not counts.all():
        name = class_names[counts.argmin()]
        fault = f"{source}: the class {name!r} has no training image"
        if skipped:
            own = [entry for entry in skipped if name in PurePath(entry["file"]).parts]
            example = (own or skipped)[0]
            fault += (
                f": {len(skipped):,} file{'s' * (len(skipped) > 1)} skipped, such as "
                f"{printable(example['file'])}: {example['reason']}"
            )
        raise UserError(fault)
    heights, widths = zip(*sizes)
    return {
        "class_names": class_names,
        "train": train,
        **({"validation": validation} if validation else {}),
        "test": len(labels) - train - validation,
        "channels": channels,
        "width": {"min": min(widths), "max": max(widths)},
        "height": {"min": min(heights), "max": max(heights)},
        "skipped": skipped,
    }
