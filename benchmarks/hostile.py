"""Hypothesis strategies for the hostile input that fuzz.py tries."""

import contextlib
import gzip
import io
import json
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from typing import Any

from hypothesis import strategies as st
from machine import PROJECT
from PIL import Image

# which nothing here can write
HEIC = (PROJECT / "tests/support/turned.heic").read_bytes()
letters = st.characters(exclude_categories=()) | st.sampled_from(
    "\n\t\x1b\x9b\u202e\u2066\ud800|<&"
)
texts = st.text(letters, max_size=300)
names = st.lists(
    st.sampled_from(["train", "test", "cat", "dog", "..", ".", "", "/", "\\", "C:", "val"])
    | st.text(letters, max_size=20),
    min_size=1,
    max_size=4,
).map("/".join)
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**100])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(texts, inside, max_size=4),
    max_leaves=12,
)
PIECES = (
    ["&a ", "*a", "<<: *a", "- ", "? ", ": ", "|\n", "{", "}", "[", "]", "'", '"', "#", "\\", "\n"]
    + ["!!binary ", "!!set ", "!!python/name:os ", "---\n", "%YAML 1.1\n", "~", "1e999", "0x", "  "]
    + ["2024-99-99", "9" * 4400, "a", '"\\ud800"', '"\\e[2J"', "\u202e", "[" * 50]
)


@st.composite
def yaml_texts(draw: Any, text: str) -> str:
    """`text` with some lines cut, doubled or altered; or another text."""
    if draw(st.integers(0, 4)) == 0:
        return "".join(draw(st.lists(st.sampled_from(PIECES) | texts, max_size=30)))
    lines = text.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        line = lines[place]
        kind = draw(st.sampled_from(["value", "piece", "cut", "twice", "gone"]))
        if kind == "value":
            key, colon, _ = line.partition(":")
            lines[place] = f"{key}{colon or ':'} {json_of(draw(values))}\n"
        elif kind == "piece":
            at = draw(st.integers(0, len(line)))
            lines[place] = line[:at] + draw(st.sampled_from(PIECES)) + line[at:]
        elif kind == "cut":
            lines[place] = line[: draw(st.integers(0, len(line)))]
        else:
            lines[place] = line * 2 if kind == "twice" else ""
    return "".join(lines)


def json_of(value: Any) -> str:
    """A value as one line of YAML, with surrogates escaped."""
    return json.dumps(value)


def damaged(draw: Any, content: bytes) -> bytes:
    """`content`, sometimes with bytes changed, cut or put in."""
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        more = draw(st.binary(max_size=8))
        content = content[:at] + more + content[at + draw(st.sampled_from([0, len(more), 100])) :]
    return content


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(file, "PNG")
    return file.getvalue()


PICTURE = picture()


@st.composite
def npz_files(draw: Any) -> bytes:
    """A data set as numpy.savez writes it, in places without an array or with another header."""
    shape = st.lists(st.sampled_from([0, 1, 2, 3, 4, 28, -1, 10**6, 2**40, 10**30]), max_size=5)
    types = st.sampled_from(["|u1", "<i8", ">u8", "<f4", "<U3", "|S3", "|O", "<U0", "|b1", "<M8[s]",
                             "<c8", "[('a', '<i4')]", "<U999999999", "x", "|V9"])  # fmt: skip
    good = {  # dtype, shape and bytes of each array
        "x_train": ("|u1", (4, 2, 2), bytes(range(16))),
        "y_train": ("<i8", (4,), struct.pack("<4q", 0, 1, 0, 1)),
        "x_test": ("|u1", (2, 2, 2), bytes(8)),
        "y_test": ("|u1", (2,), b"\0\1"),
        "class_names": ("<U3", (2,), "a\0\0b\0\0".encode("utf-32-le")),
    }
    rarely = st.sampled_from([False] * 19 + [True])
    file = io.BytesIO()
    method = zipfile.ZIP_BZIP2 if draw(rarely) else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, (kind, form, content) in good.items():
            if draw(rarely):
                continue
            kind = repr(draw(types) if draw(rarely) else kind).replace('"', "")
            form = tuple(draw(shape)) if draw(rarely) else form
            content = draw(st.binary(max_size=64)) if draw(rarely) else content
            fortran = draw(rarely)
            header = f"{{'descr': {kind}, 'fortran_order': {fortran}, 'shape': {form}}}"
            version = draw(st.sampled_from([1, 1, 1, 2, 3]))
            length = 60_000 if draw(rarely) else len(header)
            start = b"\x93NUMPY" + bytes([version, 0])
            start += struct.pack("<H" if version == 1 else "<I", length) + header.encode()
            archive.writestr(f"{name}.npy", start + content)
    return damaged(draw, file.getvalue()) if draw(rarely) else file.getvalue()


@st.composite
def members(draw: Any) -> dict[str, bytes]:
    """Files by name, half the time with two good classes among them."""
    files = draw(st.dictionaries(names, st.sampled_from([PICTURE, b"", b"text"]), max_size=6))
    if draw(st.booleans()):
        files |= {f"{label}/{n}.png": PICTURE for label in ("cat", "dog") for n in range(2)}
    return files


@st.composite
def zip_files(draw: Any) -> bytes:
    """A zip file, with links and devices, and damaged."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in draw(members()).items():
            info = zipfile.ZipInfo("x")
            info.filename = name.encode("utf-8", "replace").decode()
            info.external_attr = draw(st.sampled_from([0, 0, 0, 0o120777 << 16, 0o020000 << 16]))
            made.writestr(info, content)
    return damaged(draw, file.getvalue())


@st.composite
def tar_files(draw: Any, kind: str) -> bytes:
    """A tar file, packed as `kind` says, with members of all types, and damaged."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, content in draw(members()).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.type = draw(
                st.sampled_from([b"0"] * 12 + [b"1", b"2", b"3", b"5", b"S", b"x", b"g"])
            )
            info.pax_headers = draw(st.just({}) | st.dictionaries(texts, texts, max_size=2))
            with contextlib.suppress(UnicodeError, ValueError):
                made.addfile(info, io.BytesIO(content))
    pack = {"tar": bytes, "tar.gz": gzip.compress, "tar.xz": lzma.compress}[kind]
    return damaged(draw, pack(damaged(draw, file.getvalue())))


@st.composite
def image_files(draw: Any) -> bytes:
    """An encoded image with a chunk that no writer would write, or damaged."""
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"]))
    kind = draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "HEIF"]))
    if kind == "HEIF":
        return damaged(draw, HEIC)
    file = io.BytesIO()
    with contextlib.suppress(OSError, ValueError, KeyError):
        Image.new(mode, (draw(st.integers(1, 40)), draw(st.integers(1, 40)))).save(file, kind)
    content = file.getvalue()
    if kind == "PNG" and draw(st.booleans()):  # an invented chunk with a correct checksum
        name = draw(
            st.sampled_from([b"tRNS", b"PLTE", b"eXIf", b"gAMA", b"iCCP", b"zTXt", b"IHDR"])
        )
        body = draw(st.binary(max_size=40))
        chunk = struct.pack(">I", len(body)) + name + body
        content = content[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + content[33:]
    return damaged(draw, content)


@st.composite
def http_answers(draw: Any) -> bytes:
    """What a server sends: status, headers and body."""
    body = draw(st.binary(max_size=300))
    head = draw(
        st.lists(
            st.sampled_from(
                [f"Content-Length: {len(body)}", "Content-Length: -1", "Content-Length: 9" * 9,
                 "Content-Length: x", "Transfer-Encoding: chunked", "Content-Encoding: gzip",
                 "Content-Range: bytes 5-9/10", "Location: /x", "Location: file:///etc/passwd",
                 "Location: http://[", "Content-Type: \x1b[2J"]
            ),
            max_size=4,
        )
    )  # fmt: skip
    statuses = ["200 OK", "206 Part", "302 Found", "404 \x1b[31m", "416 No", "503 Off", "999", "x"]
    status = draw(st.sampled_from([*statuses, "200 \u202e"]))
    answer = f"HTTP/1.1 {status}\r\n" + "".join(line + "\r\n" for line in head) + "\r\n"
    return damaged(draw, answer.encode() + body)
