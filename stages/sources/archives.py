"""Folders, zip and tar files as one thing: files with names. Nothing is unpacked to disk, and
archives inside are not opened.

A name is relative, with ``/`` between its parts. `survey` refuses, by name, what no collection of
images needs and an attack would use: absolute paths, ``..``, names that `stages.runtime.text`
refuses, links, devices, encrypted files, two files of one name, and more than the limits allow.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import LONGEST_PATH, name_fault, printable

if TYPE_CHECKING:
    from stages.params.schema import Limits

# What the readers of the standard library and numpy raise on damaged files
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    MemoryError,
    OverflowError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    SyntaxError,
    tokenize.TokenError,  # the last two of numpy, from an array's header
)
PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
CHUNK = 1 << 16  # bytes read at a time
HEADERS = 1 << 20  # bytes of all headers of a tar's member; tarfile reads them whole
BEHIND = 1 << 20  # bytes behind a tar's end, which pads the last record, of 10 KiB as a rule
DIRECTORY = 1 << 28  # bytes of a zip's directory, which zipfile reads whole
# Others unpack without a bound: 50 bytes of bzip2 become 46 MB, before the first can be looked at
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a reader raises on a damaged file into a `UserError` that names the file."""
    try:
        yield
    except DAMAGE as error:
        raise UserError(
            f"{path} is damaged, or not what its name says: "
            f"{printable(error) or type(error).__name__}"
        ) from None


def kind_of(path: Path) -> str | None:
    """``folder``, ``zip`` or ``tar``, by the name; None for other files."""
    return "folder" if path.is_dir() else kind_by_name(path.name)


def kind_by_name(name: str) -> str | None:
    """``zip`` or ``tar`` by a file's name; None for others."""
    if name.lower().endswith(".zip"):
        return "zip"
    return "tar" if re.search(r"\.(tar(\.(gz|bz2|xz))?|tgz|tbz2?|txz)$", name.lower()) else None


def survey(path: Path, limits: "Limits") -> tuple[dict[str, int], set[str]]:
    """The files behind `path` with their sizes in bytes, in the order in which they lie there, and
    its folders, by name.

    Raises `UserError` naming the member that is refused.
    """
    found: dict[str, int] = {}
    folders: set[str] = set()
    total = count = 0
    with reading(path):
        listed = LIST[kind_of(path)](path, limits)
        for name, size in progress.track(listed, f"names in {path.name}", "files"):
            if fault := unsafe(name):
                raise UserError(f"{named(path, name)} {fault}: it is refused, and nothing is read")
            count += 1
            if count > limits.files:
                raise UserError(
                    f"{path} holds more than {limits.files:,} files and folders, the limit "
                    "download.limits.files"
                )
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if size is None:
                folders.add("/".join(parts))
                continue
            if size > limits.file_bytes:
                raise UserError(
                    f"{named(path, name)} has {size:,} bytes, more than "
                    f"download.limits.file_bytes: {limits.file_bytes:,}"
                )
            total += size
            if total > limits.total_bytes:
                raise UserError(
                    f"{named(path, name)}: from here on, download.limits.total_bytes is exceeded: "
                    f"{limits.total_bytes:,}"
                )
            plain = "/".join(parts)
            if plain in found:
                raise UserError(f"{named(path, name)} is there twice")
            found[plain] = size
            folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    return found, folders - {""}


def named(path: Path, name: str) -> str:
    """A file of a source, in a message."""
    return f"{path}: '{printable(name)}'"


def unsafe(name: str) -> str | None:
    """Why a member of this name is refused, or None."""
    if name.startswith("/") or re.match(r"[A-Za-z]:[/\\]", name):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of the archive by .."
    if fault := name_fault(name, LONGEST_PATH):
        return fault
    parts = (part for part in name.split("/") if part)
    return next((fault for part in parts if (fault := name_fault(part))), None)


def contents(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """The wanted files, given with their sizes, each with its content: a tar's in the order in
    which they lie there, so that it is read once through, others in the order given."""
    kind = kind_of(path)
    with reading(path):
        for name, content in READ[kind](path, wanted):
            if len(content) != wanted[name]:
                raise UserError(
                    f"{named(path, name)} has {len(content):,} bytes where {wanted[name]:,} were "
                    "announced"
                )
            yield name, content


def list_folder(path: Path, limits: "Limits") -> Iterator[tuple[str, int | None]]:
    def stop(error: OSError) -> None:
        raise error

    for here, folders, names in os.walk(path, onerror=stop):
        folders.sort()
        for name in folders:
            relative = os.path.relpath(os.path.join(here, name), path)
            if os.path.islink(os.path.join(here, name)):
                raise UserError(
                    f"{named(path, relative)} is a link to a folder: it is not followed; put the "
                    "folder itself there"
                )
            yield relative, None
        for name in sorted(names):
            relative = os.path.relpath(os.path.join(here, name), path)
            try:
                status = os.stat(
                    os.path.join(here, name)
                )  # links to files are followed: on one's own disk they do no harm
            except FileNotFoundError:
                raise UserError(f"{named(path, relative)} is a link to nothing") from None
            if not stat.S_ISREG(status.st_mode):
                raise UserError(
                    f"{named(path, relative)} is not a file but a device, a pipe or a socket: "
                    "remove it"
                )
            yield relative, status.st_size


def read_folder(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    for name, size in wanted.items():
        with open(path / name, "rb") as file:
            yield name, file.read(size + 1)  # no more, should it have grown


def list_zip(path: Path, limits: "Limits") -> Iterator[tuple[str, int | None]]:
    with opened_zip(path, limits.files, ", the limit download.limits.files") as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "link" if stat.S_ISLNK(kind) else "device"
                raise UserError(f"{named(path, info.filename)} is a {what}: it is refused")
            if info.flag_bits & 1:
                raise UserError(
                    f"{named(path, info.filename)} is encrypted: unpack the archive with its "
                    "password first"
                )
            if info.compress_type not in METHODS:
                raise UserError(
                    f"{named(path, info.filename)} is packed by another method than deflate, which "
                    "cannot be unpacked within bounds: pack the archive anew"
                )
            yield info.filename, None if info.is_dir() else info.file_size


@contextmanager
def opened_zip(path: Path, most: int, reason: str = "") -> Iterator[zipfile.ZipFile]:
    """A zip file that holds at most `most` files and folders: they are counted before zipfile
    makes an object of each, of 0.6 KB. `reason` ends the message that says so."""
    with open(path, "rb") as file, zipfile.ZipFile(Counted(file, path, most, reason)) as archive:
        yield archive


class Counted(io.BufferedIOBase):
    """A zip file, whose directory zipfile reads at once; the signature of an entry is counted."""

    def __init__(self, file: Any, path: Path, most: int, reason: str):
        self.seek, self.tell, self._file = file.seek, file.tell, file
        self.path, self.most, self.reason = path, most, reason

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY:
            raise UserError(f"{self.path}: its directory has {size:,} bytes: it is refused")
        content = self._file.read(size)
        if content.count(b"PK\x01\x02") > self.most:
            raise UserError(
                f"{self.path} holds more than {self.most:,} files and folders{self.reason}"
            )
        return content


def read_zip(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = {
            plain_name(info.filename): info for info in archive.infolist() if not info.is_dir()
        }
        for name in wanted:
            yield (
                name,
                archive.read(members[name]),
            )  # at most the announced size is unpacked, and its CRC checked


def list_tar(path: Path, limits: "Limits") -> Iterator[tuple[str, int | None]]:
    for _, member in tar_members(path):
        if member.issym() or member.islnk():
            raise UserError(
                f"{named(path, member.name)} is a link to '{printable(member.linkname)}': it is "
                "refused"
            )
        if member.issparse() or not (member.isreg() or member.isdir()):
            raise UserError(
                f"{named(path, member.name)} is a device or another special file: it is refused"
            )
        yield member.name, None if member.isdir() else member.size


def read_tar(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    for archive, member in tar_members(path):
        if (name := plain_name(member.name)) in wanted:
            yield name, archive.extractfile(member).read(wanted[name] + 1)


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each member of a tar file, packed or not, in one pass that keeps none of them in memory."""
    with opened_tar(path) as archive:
        while (member := next_member(archive)) is not None:
            yield archive, member
        # tarfile takes a damaged header behind the first, and a missing one, for the end; the true
        # end is a block of zeros
        if len(archive.fileobj.last) < tarfile.BLOCKSIZE or any(archive.fileobj.last):
            raise UserError(
                f"{path} is damaged or cut off: what stands at byte {archive.offset:,} is no "
                "member of a tar file"
            )
        archive.fileobj.left = BEHIND
        while archive.fileobj.read(CHUNK):  # to the end, where a packed file's checksum stands
            pass


def next_member(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member of an archive that `opened_tar` gave; None behind the last."""
    archive.fileobj.left = HEADERS
    member = archive.next()
    archive.fileobj.left = None
    archive.members, archive.pax_headers = [], {}  # tarfile keeps all that it has seen
    if member and member.size < 0:
        raise ValueError(f"a member of {member.size} bytes")
    return member


@contextmanager
def opened_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with open(path, "rb") as file:
        start = file.read(6)
    unpack: Any = next(
        (unpack for magic, unpack in PACKED.items() if start.startswith(magic)), open
    )
    with unpack(path, "rb") as file, tarfile.open(fileobj=Bounded(file), mode="r:") as archive:
        yield archive


class Bounded:
    """A file of which only `left` bytes more can be read, None for any number: tarfile takes
    headers into memory however long they are, and however many belong to one member."""

    def __init__(self, file: Any):
        self.seek, self.tell, self._read = file.seek, file.tell, file.read
        self.left: int | None = HEADERS
        self.last = b""  # what was read last

    def read(self, size: int) -> bytes:
        self.last = self._read(size if self.left is None else min(size, self.left + 1))
        if self.left is not None:
            self.left -= len(self.last)
            if self.left < 0:
                raise ValueError("more headers of a member, or more behind the end, than any needs")
        return self.last


def plain_name(name: str) -> str:
    """The name as `survey` gives it, without empty parts and ``.``."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


LIST = {"folder": list_folder, "zip": list_zip, "tar": list_tar}
READ = {"folder": read_folder, "zip": read_zip, "tar": read_tar}
