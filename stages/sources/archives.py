"""A common interface to folders, zip and tar files: files with names. Nothing is unpacked to disk,
and archives inside are not opened.

A name is relative, with ``/`` between its parts. `survey` leaves out hidden files, whatever they
are, but counts them in the limits on a whole archive. It refuses, naming it, what no collection of
images needs and an attack would use: absolute paths, ``..``, names that `stages.runtime.text`
refuses, links, devices, encrypted files, duplicate names, and more than the limits allow.
"""

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.images.naming import is_hidden
from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import zips
from stages.sources.members import find_name_fault, format_member, normalise_name
from stages.sources.opening import DAMAGE, is_gzip, iterate_tar, open_tar, reading

if TYPE_CHECKING:
    from stages.params.schema import Limits

LETTERS = 100  # of a name; each further 100 count as another file
LEVELS = 4  # of folders that are listed: wrapping folder, its copy, part and class


def find_kind(path: Path) -> str | None:
    """``folder``, ``zip`` or ``tar``, by the name for files; None for other files."""
    return "folder" if path.is_dir() else find_kind_by_name(path.name)


def find_kind_by_name(name: str) -> str | None:
    """``zip`` or ``tar`` by a file's name; None for others."""
    if name.lower().endswith(".zip"):
        return "zip"
    return "tar" if re.search(r"\.(tar(\.(gz|bz2|xz))?|tgz|tbz2?|txz)$", name.lower()) else None


def is_what_it_promises(path: Path, name: str) -> bool:
    """Whether a file is packed as `name`, the one it was published under, promises; true for a name
    that promises nothing. Raises `UserError` for one that takes too much memory to unpack."""
    if find_kind_by_name(name) == "tar":
        try:
            with open_tar(path):
                return True
        except PermissionError:
            raise
        except DAMAGE:
            return False
    if name.lower().endswith((".zip", ".npz")):
        return zipfile.is_zipfile(path)
    return not name.lower().endswith(".gz") or is_gzip(path)


def survey(path: Path, limits: "Limits") -> tuple[dict[str, int], set[str]]:
    """List the files in `path` that are not hidden, by name with their sizes in bytes, in the
    stored order, and the names of its folders.

    Raises `UserError` naming the member that is refused.
    """
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    with reading(path):
        for name, size in list_members(path, limits):
            parts = [part for part in name.split("/") if part not in ("", ".")]
            above = parts if size is None else parts[:-1]
            depths = range(1, min(len(above), LEVELS) + 1)
            folders.update("/".join(above[:depth]) for depth in depths)
            if size is None:
                continue
            plain = "/".join(parts)
            if plain in sizes:
                raise UserError(f"{format_member(path, name)} is there twice")
            sizes[plain] = size
    return sizes, folders


def list_members(path: Path, limits: "Limits") -> Iterator[tuple[str, int | None]]:
    """The name of each member of `path` that is not hidden, and its size in bytes, None for a
    folder. Raises `UserError` for one with an unsafe name or beyond `limits`. An archive's hidden
    members count in its number of files and its total size."""
    total = count = 0
    listed = LISTERS[find_kind(path)](path, limits)
    for name, size in progress.track(listed, f"names in {path.name}", "files"):
        hidden = is_hidden(normalise_name(name, is_folder=size is None))
        if not hidden and (fault := find_name_fault(name)):
            raise UserError(
                f"{format_member(path, name)} {fault}: it is refused, and nothing is read"
            )
        count += 1 + len(name) // LETTERS  # names are kept in memory
        if count > limits.files:
            raise UserError(
                f"{path} holds more than {limits.files:,} files and folders, the limit "
                f"download.limits.files (a name counts once more for each {LETTERS} characters)"
            )
        if (size or 0) > limits.file_bytes and not hidden:
            raise UserError(
                f"{format_member(path, name)} has {size:,} bytes, more than "
                f"download.limits.file_bytes: {limits.file_bytes:,}"
            )
        total += size or 0
        if total > limits.total_bytes:
            raise UserError(
                f"{format_member(path, name)}: from here on, download.limits.total_bytes is "
                f"exceeded: {limits.total_bytes:,}"
            )
        if not hidden:
            yield name, size


def read_contents(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """Each of the `wanted` files, given with their sizes, and its content; for a tar in the stored
    order, so that it is read in one pass, else in the order of `wanted`."""
    kind = find_kind(path)
    with reading(path):
        for name, content in READERS[kind](path, wanted):
            if len(content) != wanted[name]:
                raise UserError(
                    f"{format_member(path, name)} has {len(content):,} bytes where "
                    f"{wanted[name]:,} were announced"
                )
            yield name, content


def list_folder(path: Path, limits: "Limits") -> Iterator[tuple[str, int | None]]:
    def stop(error: OSError) -> None:
        raise error

    for here, folders, names in os.walk(path, onerror=stop):
        folders[:] = sorted(name for name in folders if not is_hidden(f"{name}/"))
        for name in folders:
            relative = os.path.relpath(os.path.join(here, name), path)
            if os.path.islink(os.path.join(here, name)):
                raise UserError(
                    f"{format_member(path, relative)} is a link to a folder, which is not "
                    "followed: put the folder itself there"
                )
            yield relative, None
        for name in sorted(name for name in names if not is_hidden(name)):
            relative = os.path.relpath(os.path.join(here, name), path)
            try:
                # links to files are followed: on the user's own disk they do no harm
                status = os.stat(os.path.join(here, name))
            except FileNotFoundError:
                raise UserError(f"{format_member(path, relative)} is a link to nothing") from None
            if not stat.S_ISREG(status.st_mode):
                raise UserError(
                    f"{format_member(path, relative)} is not a file but a device, a pipe or a "
                    "socket: remove it"
                )
            yield relative, status.st_size


def read_folder(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    for name, size in wanted.items():
        with open(path / name, "rb") as file:
            yield name, file.read(size + 1)  # one more shows that it has grown


def list_tar(path: Path, limits: "Limits") -> Iterator[tuple[str, int | None]]:
    for _, member in iterate_tar(path):
        size = None if member.isdir() else member.size
        if is_hidden(normalise_name(member.name, member.isdir())):
            yield member.name, size
            continue
        if member.issym() or member.islnk():
            raise UserError(
                f"{format_member(path, member.name)} is a link to "
                f"'{printable(member.linkname)}': it is refused"
            )
        if member.issparse() or not (member.isreg() or member.isdir()):
            raise UserError(
                f"{format_member(path, member.name)} is a device or another special file: it is "
                "refused"
            )
        yield member.name, size


def read_tar(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    for archive, member in iterate_tar(path):
        if (name := normalise_name(member.name)) in wanted:
            yield name, archive.extractfile(member).read(wanted[name] + 1)


LISTERS = {"folder": list_folder, "zip": zips.list_zip, "tar": list_tar}
READERS = {"folder": read_folder, "zip": zips.read_zip, "tar": read_tar}
