"""Folders, zip and tar files as one thing: files with names. Nothing is unpacked to disk, and
archives inside are not opened.

A name is relative, with ``/`` between its parts. `survey` refuses, by name, what no collection of
images needs and an attack would use: absolute paths, ``..``, names that `stages.runtime.text`
refuses, links, devices, encrypted files, two files of one name, and more than the limits allow.
"""

import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.images.naming import is_hidden
from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import LONGEST_PATH, name_fault, printable
from stages.sources.opening import METHODS, opened_zip, reading, tar_members

if TYPE_CHECKING:
    from stages.params.schema import Limits

LETTERS = 100  # of a name; more of them count as a further file
UTF8 = 0x800  # a flag of a zip's member: its name is UTF-8
LEVELS = 4  # of folders that are told apart: wrapping folder, its copy, part and class


def kind_of(path: Path) -> str | None:
    """``folder``, ``zip`` or ``tar``, by the name; None for other files."""
    return "folder" if path.is_dir() else kind_by_name(path.name)


def kind_by_name(name: str) -> str | None:
    """``zip`` or ``tar`` by a file's name; None for others."""
    if name.lower().endswith(".zip"):
        return "zip"
    return "tar" if re.search(r"\.(tar(\.(gz|bz2|xz))?|tgz|tbz2?|txz)$", name.lower()) else None


def is_archive(path: Path, kind: str | None) -> bool:
    """Whether a file's content is that of its `kind`; None accepts any file."""
    return {"zip": zipfile.is_zipfile, "tar": tarfile.is_tarfile, None: Path.exists}[kind](path)


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
            if fault := find_name_fault(name):
                raise UserError(f"{named(path, name)} {fault}: it is refused, and nothing is read")
            count += 1 + len(name) // LETTERS  # memory holds the names
            if count > limits.files:
                raise UserError(
                    f"{path} holds more than {limits.files:,} files and folders, the limit "
                    f"download.limits.files (a name counts once more for each {LETTERS} letters)"
                )
            parts = [part for part in name.split("/") if part not in ("", ".")]
            above = parts if size is None else parts[:-1]
            depths = range(1, min(len(above), LEVELS) + 1)
            folders.update("/".join(above[:depth]) for depth in depths)
            if size is None:
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
    return found, folders


def named(path: Path, name: str) -> str:
    """A file of a source, in a message."""
    return f"{path}: '{printable(name)}'"


def find_name_fault(name: str) -> str | None:
    """Why a member of this name is refused, or None."""
    if name.startswith("/") or re.match(r"[A-Za-z]:[/\\]", name):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of the archive by .."
    if fault := name_fault(name, LONGEST_PATH):
        return fault
    parts = (part for part in name.split("/") if part)
    return next((fault for part in parts if (fault := name_fault(part))), None)


def read_contents(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
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
    """What lies in a folder, but for what is hidden, which may be of any kind."""

    def stop(error: OSError) -> None:
        raise error

    for here, folders, names in os.walk(path, onerror=stop):
        folders[:] = sorted(name for name in folders if not is_hidden(f"{name}/"))
        for name in folders:
            relative = os.path.relpath(os.path.join(here, name), path)
            if os.path.islink(os.path.join(here, name)):
                raise UserError(
                    f"{named(path, relative)} is a link to a folder: it is not followed; put the "
                    "folder itself there"
                )
            yield relative, None
        for name in sorted(name for name in names if not is_hidden(name)):
            relative = os.path.relpath(os.path.join(here, name), path)
            try:
                # links to files are followed: on one's own disk they do no harm
                status = os.stat(os.path.join(here, name))
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
            name, kind = member_name(info), stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "link" if stat.S_ISLNK(kind) else "device"
                raise UserError(f"{named(path, name)} is a {what}: it is refused")
            if info.flag_bits & 1:
                raise UserError(
                    f"{named(path, name)} is encrypted: unpack the archive with its password first"
                )
            if info.compress_type not in METHODS:
                raise UserError(
                    f"{named(path, name)} is packed by another method than deflate, which "
                    "cannot be unpacked within bounds: pack the archive anew"
                )
            yield name, None if info.is_dir() else info.file_size


def member_name(info: zipfile.ZipInfo) -> str:
    """The name of a zip's member: UTF-8 also where the zip does not say so, as macOS writes it.
    zipfile then takes it for code page 437, the zip format's first (APPNOTE.TXT, appendix D)."""
    if info.flag_bits & UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def read_zip(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = {
            plain_name(member_name(info)): info for info in archive.infolist() if not info.is_dir()
        }
        for name in wanted:
            # `archive.read` would unpack up to 1 GiB before it cuts to the announced size
            with archive.open(members[name]) as file:
                yield name, file.read(wanted[name] + 1)  # one more: its end is where CRC is checked


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


def plain_name(name: str) -> str:
    """The name as `survey` gives it, without empty parts and ``.``."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


LIST = {"folder": list_folder, "zip": list_zip, "tar": list_tar}
READ = {"folder": read_folder, "zip": read_zip, "tar": read_tar}
