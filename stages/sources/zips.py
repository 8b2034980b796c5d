"""List and read the members of a zip file."""

import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.images.naming import is_hidden
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources.members import format_member, normalise_name
from stages.sources.opening import METHODS, open_zip

if TYPE_CHECKING:
    from stages.params.schema import Limits

UTF8 = 0x800  # flag of a zip member: its name is UTF-8
WINDOWS = 0  # the system that wrote a zip member: MS-DOS, or Windows


def list_zip(path: Path, limits: "Limits") -> Iterator[tuple[str, int | None]]:
    with open_zip(path, limits.files, ", the limit download.limits.files") as archive:
        unclear = (info.filename for info in archive.infolist() if decode_name(info) is None)
        if name := next(unclear, None):
            print(
                f"note: {path}: names such as '{printable(name)}' may be read wrongly, since it "
                "does not say how they are encoded: if so, pack it again with UTF-8 names",
                file=sys.stderr,
            )
        for info in archive.infolist():
            name, kind = find_member_name(info), stat.S_IFMT(info.external_attr >> 16)
            is_folder = name.endswith("/")
            if is_hidden(normalise_name(name, is_folder)):
                yield name, None if is_folder else info.file_size
                continue
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "link" if stat.S_ISLNK(kind) else "device"
                raise UserError(f"{format_member(path, name)} is a {what}: it is refused")
            if info.flag_bits & 1:
                raise UserError(
                    f"{format_member(path, name)} is encrypted: unpack the archive with its "
                    "password first"
                )
            if info.compress_type not in METHODS:
                raise UserError(
                    f"{format_member(path, name)} is packed by another method than deflate, which "
                    "cannot be unpacked within bounds: pack the archive again"
                )
            yield name, None if is_folder else info.file_size


def find_member_name(info: zipfile.ZipInfo) -> str:
    """The name of a zip member, as in code page 437 if its encoding is unknown. Programs for
    Windows may separate its parts by backslashes."""
    name = decode_name(info)
    if name is None:
        # in other encodings, such as Shift-JIS, the byte of a backslash may be part of a letter
        return info.filename
    return name.replace("\\", "/") if info.create_system == WINDOWS else name


def decode_name(info: zipfile.ZipInfo) -> str | None:
    """The name of a zip member: UTF-8 even without the flag, as macOS writes it; None if it is
    neither marked as UTF-8 nor valid UTF-8. Without the flag, zipfile decodes it as code page 437,
    the zip format's default (APPNOTE.TXT, appendix D)."""
    if info.flag_bits & UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return None


def read_zip(path: Path, wanted: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = {
            normalise_name(name): info
            for info in archive.infolist()
            if not (name := find_member_name(info)).endswith("/")
        }
        for name in wanted:
            # `archive.read` would unpack up to 1 GiB before it cuts to the announced size
            with archive.open(members[name]) as file:
                yield name, file.read(wanted[name] + 1)  # one more: CRC is checked at the end
