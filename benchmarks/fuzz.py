#!/usr/bin/env python3
"""Hostile input by the thousand at the borders of the project, made and shrunk by hypothesis.

usage: python benchmarks/fuzz.py [BORDER ...] [--examples 10000] [--minutes 20]

The borders: names, params (params.yaml), official (data/official/NAME.yaml), npz, archives, images,
http. Each example must be read, or refused by a sentence for people: no other exception, no
character in the sentence that acts on a terminal, nothing written outside the folder of the run, no
half-written data set. The process is limited to 4 GB of address space; more than 1 GB in memory at
its end is a finding too. Prints, for each border, how many examples were tried, how many of them
were refused, and what was found, as small as hypothesis could make it; exit status 1 if anything
was. Other numbers follow with another --seed.
"""

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import struct
import sys
import tarfile
import tempfile
import threading
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from machine import PROJECT
from PIL import Image
from ruamel.yaml import YAML

sys.path.insert(0, str(PROJECT))
from stages import download, params
from stages.images.decode import BadImage, decode
from stages.params.schema import Source
from stages.runtime.errors import UserError
from stages.runtime.text import check_name, is_printable, name_fault, printable
from stages.sources import official
from stages.sources.fetch import fetch

MEMORY = 1 << 30  # bytes of resident memory, at most
SHARES = {  # of the examples
    "names": 0.15,
    "params": 0.2,
    "official": 0.15,
    "npz": 0.2,
    "archives": 0.15,
    "images": 0.1,
    "http": 0.05,
}
FEW = ("mnist-dense", "mnist-convnet", "sequential-example", "mobilenet-v2")
OFFICIAL = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((PROJECT / "data/official").glob("*.yaml"))
}
LIMITS = {"files": 50, "file_bytes": 200_000, "total_bytes": 1_000_000, "pixels": 10_000}
CHOSEN = params.load(PROJECT / "params.yaml").download
OPTIONS = CHOSEN.model_copy(
    update={
        "limits": CHOSEN.limits.model_copy(update=LIMITS),
        "timeout": 0.2,
        "retries": 1,
        "backoff": 0.0,
        "mirror": None,
    }
)
counts = {"tried": 0, "refused": 0, "until": 0.0}  # at the border that is being fuzzed


def border(check: Callable[[], None]) -> None:
    """Run one example in an empty folder. Raises AssertionError for what must not be."""
    if time.monotonic() > counts["until"]:
        return
    counts["tried"] += 1
    before = set(os.listdir(".."))
    for name in os.listdir("."):
        path = Path(name)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    try:
        check()
    except UserError as error:
        counts["refused"] += 1
        text = str(error).replace("\n", "")
        assert all(map(is_printable, text)), f"acts on a terminal: {printable(text)}"
        assert len(text) < 20_000, f"a sentence of {len(text):,} characters"
        assert not list(Path(".").glob("data/raw/*")), "a half-written data set"
    assert set(os.listdir("..")) == before, "something outside the folder"


def short_params() -> str:
    """``params.yaml`` with a few of its networks: the whole takes half a second to read."""
    content = YAML().load(PROJECT / "params.yaml")
    for name in set(content["architectures"]) - set(FEW):
        del content["architectures"][name]
    content["models"] = list(FEW)
    file = io.StringIO()
    YAML().dump(content, file)
    return file.getvalue()


# --- what hostile things are made of

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
    """`text` with some of its lines cut, doubled, or with something else in them; or no such
    text."""
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
    """A value as YAML in one line, surrogates as escapes."""
    import json

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


def bring(source: str, class_names: list[str] | None = None) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        shutil.copytree(PROJECT / "data/official", "data/official", dirs_exist_ok=True)
        download.bring("mine", Source(source=source, class_names=class_names), OPTIONS)


# --- the borders


@given(texts)
def fuzz_names(text: str) -> None:
    def check() -> None:
        assert all(map(is_printable, printable(text)))
        with contextlib.suppress(UserError):
            params.checked(put("x.yaml", f"{json_of(text)}: {json_of(text)}\n"), params.Params)
        check_name(text, "the name")
        text.encode()
        assert len(text.splitlines()) == 1 and text.strip()

    border(check)


def put(name: str, content: str | bytes) -> Path:
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    Path(name).write_bytes(content)
    return Path(name)


@given(yaml_texts(short_params()))
def fuzz_params(text: str) -> None:
    border(lambda: params.load(put("params.yaml", text)))


@given(st.sampled_from(sorted(OFFICIAL)).flatmap(lambda name: yaml_texts(OFFICIAL[name])))
def fuzz_official(text: str) -> None:
    border(lambda: official.load(put("set.yaml", text)))


@given(st.data())
def fuzz_npz(data: Any) -> None:
    draw = data.draw
    shape = st.lists(st.sampled_from([0, 1, 2, 3, 4, 28, -1, 10**6, 2**40, 10**30]), max_size=5)
    types = st.sampled_from(["|u1", "<i8", ">u8", "<f4", "<U3", "|S3", "|O", "<U0", "|b1", "<M8[s]",
                             "<c8", "[('a', '<i4')]", "<U999999999", "x", "|V9"])  # fmt: skip
    good = {  # of each array its dtype, shape and bytes
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
    content = damaged(draw, file.getvalue()) if draw(rarely) else file.getvalue()
    given_names = draw(st.none() | st.lists(st.text(max_size=3), min_size=2, max_size=3))

    def check() -> None:
        put("set.npz", content)
        bring("set.npz", None if given_names and any(map(name_fault, given_names)) else given_names)

    border(check)


@given(st.data())
def fuzz_archives(data: Any) -> None:
    draw = data.draw
    members = draw(st.dictionaries(names, st.sampled_from([PICTURE, b"", b"text"]), max_size=6))
    if draw(st.booleans()):
        members |= {f"{label}/{n}.png": PICTURE for label in ("cat", "dog") for n in range(2)}
    kind = draw(st.sampled_from(["zip", "tar", "tar.gz", "tar.xz", "folder"]))
    place = f"set.{kind}" if kind != "folder" else "set"

    def check() -> None:
        if kind == "folder":
            for name, content in members.items():
                with contextlib.suppress(OSError, ValueError):
                    path = Path(
                        "set", *[part for part in name.split("/") if part not in ("", "..")]
                    )
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
        else:
            put(place, archive)
        bring(place)

    archive = b""
    if kind == "zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, content in members.items():
                info = zipfile.ZipInfo("x")
                info.filename = name.encode("utf-8", "replace").decode()
                info.external_attr = draw(
                    st.sampled_from([0, 0, 0, 0o120777 << 16, 0o020000 << 16])
                )
                made.writestr(info, content)
        archive = damaged(draw, file.getvalue())
    elif kind != "folder":
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as made:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                info.type = draw(
                    st.sampled_from([b"0"] * 12 + [b"1", b"2", b"3", b"5", b"S", b"x", b"g"])
                )
                info.pax_headers = draw(st.just({}) | st.dictionaries(texts, texts, max_size=2))
                with contextlib.suppress(UnicodeError, ValueError):
                    made.addfile(info, io.BytesIO(content))
        pack = {"tar": bytes, "tar.gz": gzip_of, "tar.xz": xz_of}[kind]
        archive = damaged(draw, pack(damaged(draw, file.getvalue())))
    border(check)


def gzip_of(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, 1)


def xz_of(content: bytes) -> bytes:
    import lzma

    return lzma.compress(content, preset=0)


@given(st.data())
def fuzz_images(data: Any) -> None:
    draw = data.draw
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"]))
    kind = draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]))
    file = io.BytesIO()
    with contextlib.suppress(OSError, ValueError, KeyError):
        Image.new(mode, (draw(st.integers(1, 40)), draw(st.integers(1, 40)))).save(file, kind)
    content = file.getvalue()
    if kind == "PNG" and draw(st.booleans()):  # a chunk of one's own, with a right checksum
        name = draw(
            st.sampled_from([b"tRNS", b"PLTE", b"eXIf", b"gAMA", b"iCCP", b"zTXt", b"IHDR"])
        )
        body = draw(st.binary(max_size=40))
        chunk = struct.pack(">I", len(body)) + name + body
        content = content[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + content[33:]
    content = damaged(draw, content)

    def check() -> None:
        for channels in (1, 3):
            try:
                array = decode(content, channels, LIMITS["pixels"])
                assert array.dtype == np.uint8 and array.shape[2] == channels
            except BadImage as error:
                counts["refused"] += channels == 1
                assert all(map(is_printable, str(error)))

    border(check)


class Answer(BaseHTTPRequestHandler):
    """Sends what the example says, whatever is asked for."""

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(self.server.answer)
        self.close_connection = True


@given(st.data())
def fuzz_http(data: Any) -> None:
    draw = data.draw
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
    server = data_server()
    server.answer = damaged(draw, answer.encode() + body)
    size = draw(st.none() | st.sampled_from([len(body) or 5, 1, 10**7]))
    before = draw(st.none() | st.binary(max_size=20))

    def check() -> None:
        Path("there").mkdir()
        if before is not None:
            put("there/set.bin.partial", before)
        file = official.File(
            name="set.bin", url=f"{server.address}/set.bin", bytes=size, md5="0" * 32
        )
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                fetch(file, Path("there"), OPTIONS)
                raise AssertionError("a file with another digest was taken")
            finally:
                text = said.getvalue().replace("\n", "")
                assert all(map(is_printable, text)), printable(text)
                total = sum(path.stat().st_size for path in Path("there").iterdir())
                assert total <= OPTIONS.limits.total_bytes

    border(check)


def data_server() -> Any:
    """The server, started once."""
    if not hasattr(data_server, "server"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.daemon_threads, server.answer = True, b""
        server.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        data_server.server = server
    return data_server.server


def run(name: str, examples: int, number: int, until: float) -> str | None:
    """Try so many examples at a border, at most until a time; returns what was found."""
    quiet = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )
    try:
        counts.update(tried=0, refused=0, until=until)
        seed(number)(quiet(globals()[f"fuzz_{name}"]))()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        notes = "\n    ".join(printable(note, 2000) for note in getattr(error, "__notes__", []))
        return f"{type(error).__name__}: {printable(error, 500)}\n    {notes}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("borders", nargs="*", choices=[*SHARES, []], metavar="BORDER")
    parser.add_argument("--examples", type=int, default=10_000, help="at all borders (10000)")
    parser.add_argument("--minutes", type=float, default=20.0, help="at most (20)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    chosen = arguments.borders or list(SHARES)
    whole = sum(SHARES[name] for name in chosen)
    print(f"seed {arguments.seed}")
    found, start = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/run")
        os.chdir(f"{folder}/run")
        for name in chosen:
            began = time.monotonic()
            share = SHARES[name] / whole
            until = began + max(60 * arguments.minutes - (began - start), 0)
            fault = run(name, round(arguments.examples * share), arguments.seed, until)
            megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            if fault is None and megabytes << 20 > MEMORY:
                fault = f"{megabytes:,} MB of memory"
            found += fault is not None
            print(
                f"{name:9} {counts['tried']:6,} tried, {counts['refused']:6,} refused, "
                f"{time.monotonic() - began:4.0f} s, {megabytes:,} MB at most so far: "
                f"{fault or 'nothing found'}",
                flush=True,
            )
        os.chdir("/")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
