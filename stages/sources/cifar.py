"""CIFAR's binary edition (https://www.cs.toronto.edu/~kriz/cifar.html): records of label bytes and
3072 bytes of pixels, channel by channel.

CIFAR-10 has one label byte; CIFAR-100 has two, the coarse and the fine class, of which the fine one
is used.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.runtime.errors import UserError
from stages.sources import archives, opening
from stages.sources.chunks import CHUNK, Arrays, refuse_large
from stages.sources.members import normalise_name

if TYPE_CHECKING:
    from stages.params.schema import Limits

SIDE, CHANNELS = 32, 3
NAMES_BYTES = 1 << 16  # size limit of the file with the class names
# files that identify the other editions, without .mat
OTHER_EDITIONS = {10: {"batches.meta", "data_batch_1"}, 100: {"meta", "train", "test"}}
# the file with the class names, and the number of label bytes in a record
NAMES = {"batches.meta.txt": 1, "fine_label_names.txt": 2}


def refuse_pickles(files: Iterable[str], path: Path) -> None:
    """Raise `UserError` if `files` are CIFAR's edition for Python or MATLAB, which is not read."""
    names = {name.rpartition("/")[2].removesuffix(".mat") for name in files}
    for number, markers in OTHER_EDITIONS.items():
        if markers <= names:
            raise UserError(
                f"{path} is the edition of CIFAR-{number} for Python or MATLAB: it holds Python "
                "objects, which can run code when they are read.\n       Give as the source the "
                "binary edition, https://www.cs.toronto.edu/~kriz/"
                f"cifar-{number}-binary.tar.gz, or data/official/cifar{number}.yaml, which "
                "downloads it"
            )


def read_cifar(path: Path, limits: "Limits") -> Arrays:
    """Check the archive; it is read as the chunks are consumed, one at a time, and nothing is
    unpacked to disk."""
    sizes, _ = archives.survey(path, limits)
    by_name = {name.rpartition("/")[2]: name for name in sizes}
    names_file = next((file for file in NAMES if file in by_name), None)
    parts = [
        sorted(
            by_name[name] for name in by_name if name.endswith(".bin") and name.startswith(start)
        )
        for start in (("data_batch", "train"), ("test",))
    ]
    if names_file is None or not all(parts):
        raise UserError(
            f"{path} is not the binary edition of CIFAR: it lacks {' or '.join(NAMES)}, or train "
            "or test records"
        )
    if sizes[by_name[names_file]] > NAMES_BYTES:
        raise UserError(f"{path}: {names_file} is larger than class names need")
    with opening.reading(path):
        (_, text), *_ = archives.read_contents(
            path, {by_name[names_file]: sizes[by_name[names_file]]}
        )
        class_names = [line.strip() for line in text.decode().splitlines() if line.strip()]
    record = NAMES[names_file] + CHANNELS * SIDE * SIDE
    for name in (*parts[0], *parts[1]):
        if sizes[name] % record or not sizes[name]:
            raise UserError(
                f"{path}: {name} has {sizes[name]:,} bytes, which is not a whole number of records "
                f"of {record} bytes"
            )
    train, test = (sum(sizes[name] for name in names) // record for names in parts)
    shape = (train + test, SIDE, SIDE, CHANNELS)
    refuse_large(shape, limits, str(path))
    return Arrays(
        shape,
        train,
        class_names,
        read_chunks(path, [*parts[0], *parts[1]], NAMES[names_file], class_names),
    )


def read_chunks(
    path: Path, names: list[str], label_bytes: int, class_names: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images, uint8 (chunk, 32, 32, 3), and their labels, int64 (chunk,)."""
    record = label_bytes + CHANNELS * SIDE * SIDE
    with opening.reading(path), opening.open_tar(path) as archive:
        members = {}
        while member := opening.read_next_member(archive):
            if (name := normalise_name(member.name)) in names:
                members[name] = member
        for name in names:
            file = archive.extractfile(members[name])
            while content := file.read(CHUNK * record):
                records = np.frombuffer(content, np.uint8).reshape(-1, record)
                labels = records[:, label_bytes - 1].astype(np.int64)
                if labels.max() >= len(class_names):
                    raise UserError(
                        f"{path}: {name} holds the label {labels.max()}: there are "
                        f"{len(class_names)} class names"
                    )
                yield (
                    records[:, label_bytes:]
                    .reshape(-1, CHANNELS, SIDE, SIDE)
                    .transpose(0, 2, 3, 1),
                    labels,
                )
