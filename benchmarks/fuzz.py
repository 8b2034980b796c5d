#!/usr/bin/env python3
"""Thousands of hostile inputs at the borders of the project, made and shrunk by Hypothesis.

usage: python benchmarks/fuzz.py [BORDER ...] [--examples 10000] [--minutes 20]

The borders: names, params (params.yaml), official (data/official/NAME.yaml), npz, archives, images,
http. Each example must be read, or refused with a readable message: no other exception, no
character in the message that acts on a terminal, nothing written outside the folder of the run, no
half-written data set. The process is limited to 4 GB of address space; more than 1 GB in memory at
its end is a finding too. Prints, for each border, how many examples were tried, how many of them
were refused, and what was found, as small as Hypothesis could make it; the exit status is 1 if
anything was. Another --seed draws other examples.
"""

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hostile
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from machine import PROJECT
from ruamel.yaml import YAML

sys.path.insert(0, str(PROJECT))
from stages import params
from stages.images.decode import BadImage, decode
from stages.params.schema import Source
from stages.runtime.errors import UserError
from stages.runtime.text import check_name, is_printable, printable
from stages.sources import dataset, official
from stages.sources.fetch import fetch

MEMORY = 1 << 30  # bytes of resident memory, at most
SHARES = {  # of the examples, by border
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
    """Run one example in an empty folder. Raises AssertionError for a finding."""
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
    """``params.yaml`` with few networks, since the whole file takes half a second to read."""
    content = YAML().load(PROJECT / "params.yaml")
    for name in set(content["architectures"]) - set(FEW):
        del content["architectures"][name]
    content["models"] = list(FEW)
    file = io.StringIO()
    YAML().dump(content, file)
    return file.getvalue()


def bring(source: Path) -> None:
    """The stage download, with small limits."""
    with contextlib.redirect_stdout(io.StringIO()):
        shutil.copytree(PROJECT / "data/official", "data/official", dirs_exist_ok=True)
        dataset.import_dataset("mine", Source(source=str(source)), OPTIONS, Path("data/raw"))


# --- the borders


@given(hostile.texts)
def fuzz_names(text: str) -> None:
    def check() -> None:
        assert all(map(is_printable, printable(text)))
        with contextlib.suppress(UserError):
            params.read_checked(
                put("x.yaml", f"{hostile.json_of(text)}: {hostile.json_of(text)}\n"), params.Params
            )
        check_name(text, "the name")
        text.encode()
        assert len(text.splitlines()) == 1 and text.strip()

    border(check)


def put(name: str, content: str | bytes) -> Path:
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    Path(name).write_bytes(content)
    return Path(name)


@given(hostile.yaml_texts(short_params()))
def fuzz_params(text: str) -> None:
    border(lambda: params.load(put("params.yaml", text)))


@given(st.sampled_from(sorted(OFFICIAL)).flatmap(lambda name: hostile.yaml_texts(OFFICIAL[name])))
def fuzz_official(text: str) -> None:
    border(lambda: params.read_checked(put("set.yaml", text), official.Publisher))


@given(hostile.npz_files())
def fuzz_npz(content: bytes) -> None:
    border(lambda: bring(put("set.npz", content)))


@given(st.data(), st.sampled_from(["zip", "tar", "tar.gz", "tar.xz", "folder"]))
def fuzz_archives(data: Any, kind: str) -> None:
    if kind == "folder":
        files = data.draw(hostile.members())
        border(lambda: bring(as_folder(files)))
    else:
        made = hostile.zip_files() if kind == "zip" else hostile.tar_files(kind)
        content = data.draw(made)
        border(lambda: bring(put(f"set.{kind}", content)))


def as_folder(files: dict[str, bytes]) -> Path:
    """Write the files that the file system accepts into a folder."""
    folder = Path("set")
    folder.mkdir()
    for name, content in files.items():
        with contextlib.suppress(OSError, ValueError):
            path = folder.joinpath(*[part for part in name.split("/") if part not in ("", "..")])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


@given(hostile.image_files())
def fuzz_images(content: bytes) -> None:
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
    """Sends the example's answer to any request."""

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(self.server.answer)
        self.close_connection = True


@given(
    hostile.http_answers(),
    st.none() | st.sampled_from([1, 100, 10**7]),
    st.none() | st.binary(max_size=20),
)
def fuzz_http(answer: bytes, size: int | None, before: bytes | None) -> None:
    server = started_server()
    server.answer = answer

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


def started_server() -> Any:
    """The server, started once."""
    if not hasattr(started_server, "server"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.daemon_threads, server.answer = True, b""
        server.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started_server.server = server
    return started_server.server


def run(name: str, examples: int, number: int, until: float) -> str | None:
    """Try a number of examples at a border, until a time at most; returns what was found."""
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
