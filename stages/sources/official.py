"""Publishers' listings of data sets, ``data/official/NAME.yaml``: the URLs and digests of their
files."""

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from stages import params
from stages.params.fields import ADDRESS, ClassName, Line, Section, one_of
from stages.params.schema import Limits
from stages.runtime.errors import UserError
from stages.sources import archives, idx
from stages.sources.keras_npz import read_npz
from stages.sources.opening import CHUNK, reading
from stages.storage import files

FOLDER = Path("data/official")


class File(Section):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    url: Annotated[Line, ADDRESS]
    bytes: int | None = Field(None, ge=1)
    md5: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    unpacked_sha256: dict[str, str] | None = None  # of what is packed in the file, by name
    place: ClassVar[str] = "datasets.NAME.source"  # the parameter that may name another copy

    @property
    def digest(self) -> str | None:
        """The published digest and its kind, for a message; None if there is none."""
        return next(
            (f"{kind} {value}" for kind in ("sha256", "md5") if (value := getattr(self, kind))),
            None,
        )


def check_names(listed: list[File]) -> list[File]:
    """Check that no two files share a name, and none has that of the lock beside them."""
    names = [file.name.lower() for file in listed] + ["download.lock"]
    if len(set(names)) < len(names):
        raise ValueError("two files have the same name, or one is called download.lock")
    return listed


class Publisher(Section):
    homepage: Line
    licence: Line
    format: one_of("npz", "idx", "cifar", "images")
    class_names: list[ClassName] | None = None
    files: Annotated[list[File], Field(min_length=1, max_length=10), AfterValidator(check_names)]
    images: dict[ClassName, int] | None = None  # of each class

    @model_validator(mode="after")
    def check_format(self) -> "Publisher":
        names = [file.name for file in self.files]
        if self.images and self.format != "images":
            raise ValueError(f"format {self.format} needs no images: leave the key out")
        if self.format == "idx":
            if len(names) != 4 or not all(
                any(name.startswith(start) for name in names) for start in idx.FILES
            ):
                raise ValueError(
                    "format idx has four files, whose names begin with " + ", ".join(idx.FILES)
                )
            if not self.class_names:
                raise ValueError("format idx has no names of classes: give class_names")
        elif self.class_names and self.format != "npz":
            raise ValueError(f"format {self.format} has names of classes: leave out class_names")
        elif len(names) > 1:
            raise ValueError(f"format {self.format} has one file, not {len(names)}")
        elif self.format in ("images", "cifar"):
            kinds = ("tar",) if self.format == "cifar" else ("zip", "tar")
            if archives.find_kind_by_name(names[0]) not in kinds:
                raise ValueError(
                    f"format {self.format} has a file whose name ends in "
                    f"{' or '.join('.' + kind for kind in kinds)} (.tar.gz, .tar.xz, ...), not "
                    f"{names[0]}"
                )
        return self


def recognise(path: Path) -> tuple[Path, Publisher, dict[str, Path]] | None:
    """The listing in data/official whose files are at `path`, judged by their names, and their
    paths; None if there is none."""
    for place in sorted(FOLDER.glob("*.yaml")):
        publisher = params.read_checked(place, Publisher)
        names = [file.name for file in publisher.files]
        if path.is_dir() and len(names) > 1 and all((path / name).is_file() for name in names):
            return place, publisher, {name: path / name for name in names}
        if path.is_file() and names == [path.name]:
            return place, publisher, {path.name: path}
    return None


def find_fault(path: Path, file: File, limits: Limits) -> str | None:
    """How the file at `path` differs from the published one; None if it does not.

    A repacked copy has another digest but the same content: Debian's package dataset-fashion-mnist
    gzips the files itself, and numpy versions write different .npz files. Such a copy is accepted
    by the digests of what it contains.
    """
    if faults := list_packed_faults(path, file):
        if file.unpacked_sha256 and digest_unpacked(path, file, limits) == file.unpacked_sha256:
            return None
        return ", ".join(faults) + (
            ", and what is packed in it differs too" if file.unpacked_sha256 else ""
        )
    return None


def list_packed_faults(path: Path, file: File) -> list[str]:
    """How the size and digests of the packed file differ from the published ones; without a
    published digest, also whether it is not the archive that its name promises, but a web page."""
    faults = []
    if not file.digest and not archives.is_what_it_promises(path, file.name):
        faults.append("it is not the archive that its name promises")
    if file.bytes is not None and (size := path.stat().st_size) != file.bytes:
        faults.append(f"{size:,} bytes instead of {file.bytes:,}")
    for kind in ("md5", "sha256"):
        if (published := getattr(file, kind)) and (
            actual := compute_digest(path, kind)
        ) != published:
            faults.append(f"{kind} {actual} instead of {published}")
    return faults


def compute_digest(path: Path, kind: str) -> str:
    """The MD5 or SHA-256 digest of a file, in hexadecimal. MD5 guards only against damage; some
    publishers give nothing else."""
    if kind == "sha256":
        return files.sha256(path)
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def digest_unpacked(path: Path, file: File, limits: Limits) -> dict[str, str] | None:
    """SHA-256 of the content of a .gz file, or of each array in an .npz file, written as IDX; None
    if it cannot be unpacked."""
    try:
        if path.suffix == ".npz":
            return digest_arrays(path, limits)
        digest, left = hashlib.sha256(), limits.file_bytes
        with reading(path), gzip.open(path) as opened:
            while content := opened.read(CHUNK):
                digest.update(content)
                if (left := left - len(content)) < 0:
                    return None
        return {path.stem: digest.hexdigest()}
    except UserError:
        return None


def digest_arrays(path: Path, limits: Limits) -> dict[str, str]:
    """SHA-256 of each array of an .npz file of one-channel images, written as an IDX file."""
    arrays = read_npz(path, limits)
    count, height, width, _ = arrays.shape
    parts = {"train": arrays.train, "test": count - arrays.train}
    digests = {}
    for part, images in parts.items():
        digests[f"x_{part}"] = hashlib.sha256(
            struct.pack(">4B3I", 0, 0, 8, 3, images, height, width)
        )
        digests[f"y_{part}"] = hashlib.sha256(struct.pack(">4B1I", 0, 0, 8, 1, images))
    seen = 0
    for pixels, labels in arrays.chunks:  # a chunk never spans both parts
        part = "train" if seen < arrays.train else "test"
        digests[f"x_{part}"].update(pixels.tobytes())
        digests[f"y_{part}"].update(labels.astype(np.uint8).tobytes())
        seen += len(labels)
    return {name: digest.hexdigest() for name, digest in digests.items()}
