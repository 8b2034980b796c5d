"""Open zip and tar files with bounded memory, whatever their headers claim, and name the file that
is damaged."""

import _compression  # standard library; lzma.open, which is built on it, takes no memory limit
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

# what the readers of the standard library and numpy raise on damaged files
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
    # these two by numpy, on an array's header
    SyntaxError,
    tokenize.TokenError,
)
MEMORY = 1 << 28  # bytes for unpacking; xz -9 needs 65 MB, a header may demand 4 GB
CHUNK = 1 << 16  # bytes read at a time
HEADERS = 1 << 20  # bytes of all headers of one tar member; tarfile reads them whole
TRAILING = 1 << 20  # bytes after a tar's end; padding of the last record, usually 10 KiB
GZIP = b"\x1f\x8b"  # the first bytes of a file
ENTRY = 100  # bytes per file in a zip's directory, on average; zipfile reads it at once
# others unpack without bound: 50 bytes of bzip2 become 46 MB before the first can be read
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a reader raises on a damaged file into a `UserError` that names the file."""
    try:
        yield
    except PermissionError:  # not damage: `stages.runtime.refusals` says what to do
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
def open_zip(path: Path, limit: int, reason: str = "") -> Iterator[zipfile.ZipFile]:
    """Open a zip file. Raises `UserError`, whose message ends with `reason`, if it holds more than
    `limit` files and folders: they are counted before zipfile makes an object of 0.6 KB for
    each."""
    with open(path, "rb") as file:
        counting = CountingFile(file, path, limit, reason)
        with zipfile.ZipFile(counting) as archive:
            counting.limit = None  # the directory has been read; what follows is content
            yield archive


class CountingFile(io.BufferedIOBase):
    """A zip file that counts the entries' signatures in the directory, which zipfile reads at
    once."""

    def __init__(self, file: Any, path: Path, limit: int, reason: str):
        self.seek, self.tell, self._file = file.seek, file.tell, file
        self.path, self.reason = path, reason
        self.limit: int | None = limit  # None: nothing is counted

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.limit is None:
            return self._file.read(size)
        if size > self.limit * ENTRY:
            raise UserError(
                f"{self.path}: its directory has {size:,} bytes, more than {self.limit:,} files "
                f"and folders need{self.reason}"
            )
        content = self._file.read(size)
        if content.count(b"PK\x01\x02") > self.limit:
            raise UserError(
                f"{self.path} holds more than {self.limit:,} files and folders{self.reason}"
            )
        return content


def iterate_tar(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each member of a tar file, compressed or not, in one pass that keeps none in memory."""
    with open_tar(path) as archive:
        while (member := read_next_member(archive)) is not None:
            yield archive, member
        # tarfile takes a damaged or missing header after the first for the end; the true end is a
        # block of zeros
        if len(archive.fileobj.last) < tarfile.BLOCKSIZE or any(archive.fileobj.last):
            raise UserError(
                f"{path} is damaged or cut off: there is no member of a tar file at byte "
                f"{archive.offset:,}"
            )
        archive.fileobj.left = TRAILING
        while archive.fileobj.read(CHUNK):  # to the end, where a compressed file's checksum is
            pass


def read_next_member(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    """Read the next member of an archive opened by `open_tar`; None after the last."""
    archive.fileobj.left = HEADERS
    member = archive.next()
    archive.fileobj.left = None
    archive.members, archive.pax_headers = [], {}  # which tarfile accumulates
    if member and member.size < 0:
        raise ValueError(f"a member of {member.size} bytes")
    return member


def open_xz(file: Any) -> io.BufferedReader:
    """Open an .xz file for reading, with at most `MEMORY` bytes for its dictionary."""
    return io.BufferedReader(
        _compression.DecompressReader(
            file,
            lzma.LZMADecompressor,
            trailing_error=lzma.LZMAError,
            format=lzma.FORMAT_XZ,
            memlimit=MEMORY,
        )
    )


def is_gzip(path: Path) -> bool:
    """Whether a file begins as one of gzip does."""
    with open(path, "rb") as file:
        return file.read(len(GZIP)) == GZIP


DECOMPRESSORS = {GZIP: gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": open_xz}


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar file, compressed or not, to be read with `read_next_member`."""
    with open(path, "rb") as file:
        start = file.read(6)
        file.seek(0)
        openers = (opener for magic, opener in DECOMPRESSORS.items() if start.startswith(magic))
        content = next(openers, nullcontext)(file)
        try:
            with content as opened, tarfile.open(fileobj=BoundedFile(opened), mode="r:") as archive:
                yield archive
        except lzma.LZMAError as error:
            if "Memory usage limit" not in str(error):
                raise
            raise UserError(
                f"{path}: unpacking it takes more than {MEMORY:,} bytes of memory: pack it again "
                "with `xz -9` or less"
            ) from None


class BoundedFile:
    """A file that lets only `left` more bytes be read, None for any number: tarfile reads headers
    into memory however long they are, and however many belong to one member."""

    def __init__(self, file: Any):
        self.seek, self.tell, self._read = file.seek, file.tell, file.read
        self.left: int | None = HEADERS
        self.last = b""  # what the last read returned

    def read(self, size: int) -> bytes:
        self.last = self._read(size if self.left is None else min(size, self.left + 1))
        if self.left is not None:
            self.left -= len(self.last)
            if self.left < 0:
                raise ValueError("a member's headers, or the bytes after the end, are too long")
        return self.last
