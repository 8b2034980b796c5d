"""Folders, zip and tar files as one thing: files with names. Nothing is unpacked to disk, and
archives inside are not opened.

A name is relative, with ``/`` between its parts. `survey` refuses, by name, what no collection of
images needs and an attack would use: absolute paths, ``..``, links, devices, encrypted files, two
files of one name, and more than the limits allow.
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.runtime.errors import UserError

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
AT_ONCE = (
    16 << 20
)  # bytes; tarfile reads a member's extended header whole, however long it says it is
CHUNK = 1 << 16  # bytes read at a time


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a reader raises on a damaged file into a `UserError` that names the file."""
    try:
        yield
    except DAMAGE as error:
        raise UserError(
            f"{path} is damaged, or not what its name says: {str(error) or type(error).__name__}"
        ) from None


def kind_of(path: Path) -> str | None:
    """``folder``, ``zip`` or ``tar``, by the name; None for other files."""
    if path.is_dir():
        return "folder"
    if path.suffix.lower() == ".zip":
        return "zip"
    return (
        "tar" if re.search(r"\.(tar(\.(gz|bz2|xz))?|tgz|tbz2?|txz)$", path.name.lower()) else None
    )


def survey(path: Path, limits: "Limits") -> tuple[dict[str, int], set[str]]:
    """The files behind `path` with their sizes in bytes, in the order in which they lie there, and
    its folders, by name.

    Raises `UserError` naming the member that is refused.
    """
    found: dict[str, int] = {}
    folders: set[str] = set()
    total = count = 0
    with reading(path):
        for name, size in LIST[kind_of(path)](path):
            where = f"{path}: {name!r}"
            if fault := unsafe(name):
                raise UserError(f"{where} {fault}: it is refused, and nothing is read")
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
                    f"{where} has {size:,} bytes, more than download.limits.file_bytes: "
                    f"{limits.file_bytes:,}"
                )
            total += size
            if total > limits.total_bytes:
                raise UserError(
                    f"{where}: from here on, download.limits.total_bytes is exceeded: "
                    f"{limits.total_bytes:,}"
                )
            plain = "/".join(parts)
            if plain in found:
                raise UserError(f"{where} is there twice")
            found[plain] = size
            folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    return found, folders - {""}


def unsafe(name: str) -> str | None:
    """Why a member of this name is refused, or None."""
    if name.startswith("/") or re.match(r"[A-Za-z]:[/\\]", name):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of the archive by .."
    if not name.isprintable() and any(
        ord(letter) < 32 or ord(letter) == 127 or "\ud800" <= letter <= "\udfff" for letter in name
    ):
        return "has control characters in its name, or is not UTF-8"
    return None


def contents(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """The wanted files, given with their sizes, each with its content: a tar's in the order in
    which they lie there, so that it is read once through, others in the order given."""
    kind = kind_of(path)
    with reading(path):
        for name, content in READ[kind](path, wanted):
            if len(content) != wanted[name]:
                raise UserError(
                    f"{path}: {name!r} has {len(content):,} bytes where {wanted[name]:,} were "
                    "announced"
                )
            yield name, content


def list_folder(path: Path) -> Iterator[tuple[str, int | None]]:
    def stop(error: OSError) -> None:
        raise error

    for here, folders, names in os.walk(path, onerror=stop):
        folders.sort()
        for name in folders:
            relative = os.path.relpath(os.path.join(here, name), path)
            if os.path.islink(os.path.join(here, name)):
                raise UserError(
                    f"{path}: {relative!r} is a link to a folder: it is not followed; put the "
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
                raise UserError(f"{path}: {relative!r} is a link to nothing") from None
            if not stat.S_ISREG(status.st_mode):
                raise UserError(
                    f"{path}: {relative!r} is not a file but a device, a pipe or a socket: remove "
                    "it"
                )
            yield relative, status.st_size


def read_folder(path: Path, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for name in wanted:
        yield name, (path / name).read_bytes()


def list_zip(path: Path) -> Iterator[tuple[str, int | None]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(
                    f"{path}: {info.filename!r} is a {'link' if stat.S_ISLNK(kind) else 'device'}: "
                    "it is refused"
                )
            if info.flag_bits & 1:
                raise UserError(
                    f"{path}: {info.filename!r} is encrypted: unpack the archive with its password "
                    "first"
                )
            yield info.filename, None if info.is_dir() else info.file_size


def read_zip(path: Path, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = {
            plain_name(info.filename): info for info in archive.infolist() if not info.is_dir()
        }
        for name in wanted:
            yield (
                name,
                archive.read(members[name]),
            )  # at most the announced size is unpacked, and its CRC checked


def list_tar(path: Path) -> Iterator[tuple[str, int | None]]:
    for _, member in tar_members(path):
        if member.issym() or member.islnk():
            raise UserError(
                f"{path}: {member.name!r} is a link to {member.linkname!r}: it is refused"
            )
        if member.issparse() or not (member.isreg() or member.isdir()):
            raise UserError(
                f"{path}: {member.name!r} is a device or another special file: it is refused"
            )
        yield member.name, None if member.isdir() else member.size


def read_tar(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    for archive, member in tar_members(path):
        if (name := plain_name(member.name)) in wanted:
            yield name, b"".join(in_chunks(archive.extractfile(member)))


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each member of a tar file, packed or not, in one pass that keeps none of them in memory."""
    with opened_tar(path) as archive:
        while (member := archive.next()) is not None:
            archive.members = []
            yield archive, member
        # tarfile takes a damaged header behind the first, and a missing one, for the end; the true
        # end is a block of zeros
        if len(archive.fileobj.last) < tarfile.BLOCKSIZE or any(archive.fileobj.last):
            raise UserError(
                f"{path} is damaged or cut off: what stands at byte {archive.offset:,} is no "
                "member of a tar file"
            )
        for _ in in_chunks(archive.fileobj):  # to the end, where a packed file's checksum stands
            pass


def in_chunks(file: Any) -> Iterator[bytes]:
    """A file's content, so much at a time that `Careful` lets it pass."""
    while content := file.read(CHUNK):
        yield content


@contextmanager
def opened_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with open(path, "rb") as file:
        start = file.read(6)
    unpack: Any = next(
        (unpack for magic, unpack in PACKED.items() if start.startswith(magic)), open
    )
    with unpack(path, "rb") as file, tarfile.open(fileobj=Careful(file), mode="r:") as archive:
        yield archive


class Careful:
    """A file of which `tarfile` cannot read a huge extended header at once, which would fill the
    memory."""

    def __init__(self, file: Any):
        self.seek, self.tell, self._read = file.seek, file.tell, file.read
        self.last = b""  # what was read last

    def read(self, size: int) -> bytes:
        if size > AT_ONCE:
            raise ValueError(f"a header of {size:,} bytes")
        self.last = self._read(size)
        return self.last


def plain_name(name: str) -> str:
    """The name as `survey` gives it, without empty parts and ``.``."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


LIST = {"folder": list_folder, "zip": list_zip, "tar": list_tar}
READ = {"folder": read_folder, "zip": read_zip, "tar": read_tar}
