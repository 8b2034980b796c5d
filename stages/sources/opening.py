"""Zip and tar files opened so that memory is bounded, whatever their headers say, and what is
damaged is said in a sentence."""

import _compression  # of the standard library: what lzma.open is made of, which takes no limit
import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError
from stages.runtime.text import printable

# What the readers of the standard library and numpy raise on damaged files
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    # both of numpy, from an array's header
    SyntaxError,
    tokenize.TokenError,
)
MEMORY = 1 << 28  # bytes that unpacking may take; xz -9 asks for 65 MB, a header may ask for 4 GB
CHUNK = 1 << 16  # bytes read at a time
HEADERS = 1 << 20  # bytes of all headers of a tar's member; tarfile reads them whole
BEHIND = 1 << 20  # bytes behind a tar's end, which pads the last record, of 10 KiB as a rule
ENTRY = 100  # bytes of a file in a zip's directory, on average; zipfile reads all of it at once
# Others unpack without a bound: 50 bytes of bzip2 become 46 MB, before the first can be looked at
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a reader raises on a damaged file into a `UserError` that names the file."""
    try:
        yield
    except PermissionError:  # no damage: what to do about it is said where the run ends
        raise
    except MemoryError:
        raise UserError(
            f"{path}: not enough memory to read it; or it is damaged, and claims to hold more than "
            "it does"
        ) from None
    except DAMAGE as error:
        raise UserError(
            f"{path} is damaged, or not what its name says: "
            f"{printable(error) or type(error).__name__}"
        ) from None


@contextmanager
def opened_zip(path: Path, most: int, reason: str = "") -> Iterator[zipfile.ZipFile]:
    """A zip file that holds at most `most` files and folders: they are counted before zipfile
    makes an object of each, of 0.6 KB. `reason` ends the message that says so."""
    with open(path, "rb") as file:
        counted = Counted(file, path, most, reason)
        with zipfile.ZipFile(counted) as archive:
            counted.most = None  # the directory is read, what follows is content
            yield archive


class Counted(io.BufferedIOBase):
    """A zip file, whose directory zipfile reads at once; the signature of an entry is counted."""

    def __init__(self, file: Any, path: Path, most: int, reason: str):
        self.seek, self.tell, self._file = file.seek, file.tell, file
        self.path, self.reason = path, reason
        self.most: int | None = most  # None: nothing is counted

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.most is None:
            return self._file.read(size)
        if size > self.most * ENTRY:
            raise UserError(
                f"{self.path}: its directory has {size:,} bytes, more than {self.most:,} files and "
                f"folders need{self.reason}"
            )
        content = self._file.read(size)
        if content.count(b"PK\x01\x02") > self.most:
            raise UserError(
                f"{self.path} holds more than {self.most:,} files and folders{self.reason}"
            )
        return content


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


def open_xz(file: Any) -> io.BufferedReader:
    """What is packed in an .xz file, with no more than `MEMORY` for its dictionary."""
    return io.BufferedReader(
        _compression.DecompressReader(
            file,
            lzma.LZMADecompressor,
            trailing_error=lzma.LZMAError,
            format=lzma.FORMAT_XZ,
            memlimit=MEMORY,
        )
    )


PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": open_xz}


@contextmanager
def opened_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with open(path, "rb") as file:
        start = file.read(6)
        file.seek(0)
        unpack = (unpack for magic, unpack in PACKED.items() if start.startswith(magic))
        content = next(unpack, nullcontext)(file)
        try:
            with content as opened, tarfile.open(fileobj=Bounded(opened), mode="r:") as archive:
                yield archive
        except lzma.LZMAError as error:
            if "Memory usage limit" not in str(error):
                raise
            raise UserError(
                f"{path}: unpacking it takes more than {MEMORY:,} bytes of memory: pack it anew, "
                "by `xz -9` or less"
            ) from None


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
