"""A publisher's file from the internet, checked before it gets its name.

A transfer that was cut is taken up again where it ended, by an HTTP Range request, in this run or a
later one: what came so far lies in ``FILE.partial``. requests honours the variables HTTPS_PROXY,
HTTP_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE.

Whatever a server sends is bounded: a transfer stops past the published size, and past
``download.limits.total_bytes``; one that is slower than `SLOWEST` counts as cut.
"""

import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import requests
import urllib3

from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import official
from stages.storage import files

if TYPE_CHECKING:
    from stages.params.schema import Download

CHUNK = 1 << 14  # bytes read at a time, at most
SLOWEST = 1000  # bytes a second, over ``download.timeout``; a server could hold us for ever by less
ANSWER = 10  # times ``download.timeout``, at most, until a server has answered with its headers
REDIRECTS = 10  # followed one after the other
PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may be gone at the next try


class Cut(Exception):
    """A transfer that ended before the file did, or did not begin: worth another try. The message
    is the reason."""


class Session(requests.Session):
    """A session that follows no redirection by itself: requests would take the body of one into
    memory, however long it is."""

    def get_redirect_target(self, response: requests.Response) -> None:
        return None


def fetch_all(publisher: official.Publisher, folder: Path, options: "Download") -> dict[str, Path]:
    """The publisher's files in `folder` by name, together at most ``limits.total_bytes`` long."""
    found, room = {}, options.limits.total_bytes
    for file in publisher.files:
        found[file.name] = fetch(file, folder, options, room)
        room -= size_of(found[file.name])
    return found


def fetch(file: official.File, folder: Path, options: "Download", room: int | None = None) -> Path:
    """The file in `folder`, checked; fetched unless it lies there already. `options` is the section
    ``download``; `room` is how many bytes it may have, without it ``limits.total_bytes``.

    Raises `UserError` when the transfer fails for good, with what to fetch by hand; nothing
    unchecked ever has the file's name.
    """
    room = options.limits.total_bytes if room is None else room
    path = folder / file.name
    partial = folder / f"{file.name}.partial"
    if not file.digest:
        forget_other(file, folder)
    fault = official.fault(path, file, options.limits) if path.is_file() else None
    if path.is_file() and not fault:
        return path
    advice = by_hand(file, path, fault)
    address = f"{options.mirror.rstrip('/')}/{file.name}" if options.mirror else file.url
    folder.mkdir(parents=True, exist_ok=True)
    tries, longest, since = 0, size_of(partial), time.monotonic()
    with Session() as session:
        while True:
            begun = size_of(partial)
            try:
                if (file.bytes or 0) > room:
                    raise UserError(too_long(file.name, room))
                if not complete(partial, file):
                    transfer(session, address, partial, file, room, options.timeout)
                if size_of(partial) > room:
                    files.remove(partial)
                    raise UserError(too_long(address, room))
                if not (faults := official.packed_faults(partial, file)):
                    os.replace(partial, path)
                    return path
                size = size_of(partial)
                if file.bytes is not None and size < file.bytes:
                    raise Cut(f"{size:,} of {file.bytes:,} bytes came")
                files.remove(partial)
                if begun:
                    raise Cut("what was fetched in pieces is not the published file")
                raise UserError(
                    f"{address} is not the published {file.name}: {', '.join(faults)}\n{advice}"
                )
            except Cut as error:
                gained, now = size_of(partial) - longest, time.monotonic()
                if gained > 0 and gained >= SLOWEST * (now - since):  # it gets on: tries count anew
                    tries = 0
                longest, since = longest + max(gained, 0), now
                if tries == options.retries:
                    raise UserError(f"{address} cannot be fetched: {error}\n{advice}") from None
                pause = options.backoff * 2**tries
                tries += 1
                said = f"{file.name}: {error}; try {tries} of {options.retries} in {pause:g} s"
                print(said, file=sys.stderr, flush=True)
                time.sleep(pause)
            except requests.RequestException as error:
                raise UserError(
                    f"{address} cannot be fetched: {printable(error)}\n{advice}"
                ) from None
            except OSError as error:
                # requests raises one without a number where REQUESTS_CA_BUNDLE names no file
                what = f"{address} cannot be fetched"
                what = what if error.errno is None else f"{partial} cannot be written"
                raise UserError(f"{what}: {printable(error)}") from None


def transfer(
    session: Session,
    address: str,
    partial: Path,
    file: official.File,
    room: int,
    timeout: float,
) -> None:
    """Fetch what `partial` lacks, and stop one byte past the published size, or past `room`. Raises
    `Cut` where another try may help, `UserError` or requests' own where none will."""
    start = size_of(partial)
    headers = {"Accept-Encoding": "identity"}  # the bytes as published, not packed for the way
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with get(session, address, headers=headers, timeout=timeout) as response:
            if response.status_code == 416 and start:
                files.remove(partial)
                raise Cut("the server's file is not longer than what was fetched before")
            if response.status_code in PASSING:
                raise Cut(f"HTTP status {response.status_code} {printable(response.reason)}")
            response.raise_for_status()
            resumed = response.status_code == 206 and response.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {start}-")
            if response.status_code == 206 and not resumed:
                files.remove(partial)
                raise Cut("the server sent another range of bytes than it was asked for")
            begin = start if resumed else 0  # a server without ranges sends the whole file
            length = response.headers.get("Content-Length", "")
            announced = begin + int(length) if length.isdigit() else None
            if (announced or 0) > room:
                raise UserError(too_long(address, room))
            with (
                open(partial, "ab" if resumed else "wb") as output,
                progress.track(
                    None,
                    file.name,
                    "B",
                    file.bytes or announced,
                    initial=begin,
                    unit_scale=True,
                ) as bar,
            ):
                most = min(room, file.bytes or room) + 1
                for content in received(response, most - begin, timeout):
                    output.write(content)
                    bar.update(len(content))
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        # without urllib3's "Max retries exceeded"
        reason = getattr(error.args[0], "reason", error) if error.args else error
        raise Cut(f"no connection, or it broke off: {printable(reason)}") from None


def get(session: Session, address: str, **options: Any) -> requests.Response:
    """The answer to a request, without its body, behind any redirections."""
    for _ in range(REDIRECTS):
        response = answered(session, address, **options)
        try:
            target = requests.Session.get_redirect_target(session, response)
            address = urljoin(response.url, target or "")
        except ValueError:  # of the standard library's, on brackets and bytes that are no text
            response.close()
            raise requests.exceptions.InvalidURL("redirected to what is no address") from None
        if target is None:
            return response
        response.close()
    raise requests.TooManyRedirects(f"more than {REDIRECTS} redirects, one after the other")


def answered(session: Session, address: str, timeout: float, **options: Any) -> requests.Response:
    """The answer to one request. Raises `Cut` where its headers take longer than `ANSWER`: requests
    would wait for a further byte again and again, and so does the thread, which nobody joins."""
    answers: queue.Queue = queue.Queue()

    def ask() -> None:
        try:
            answers.put(session.get(address, stream=True, timeout=timeout, **options))
        except Exception as error:  # raised below, in the thread that waits
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER * timeout)
    except queue.Empty:
        raise Cut(f"no answer within {ANSWER * timeout:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def received(response: requests.Response, most: int, timeout: float) -> Iterator[bytes]:
    """The body as it comes, at most `most` bytes of it. Raises `Cut` where less than `SLOWEST`
    bytes a second come for `timeout` seconds; also where a read does not return for that long,
    since a server can go on for ever with what stands between the chunks of a body."""
    since, came, reads = time.monotonic(), 0, 0
    ended, stuck = threading.Event(), threading.Event()

    def watch() -> None:
        seen = -1
        while not ended.wait(timeout):
            if reads == seen:
                stuck.set()
                response.raw.shutdown()  # whoever reads gets the end of the file, or an error
                return
            seen = reads

    threading.Thread(target=watch, daemon=True).start()
    try:
        while most > 0 and (content := response.raw.read1(min(CHUNK, most), decode_content=False)):
            yield content
            most, came, reads = most - len(content), came + len(content), reads + 1
            if (seconds := time.monotonic() - since) >= timeout:
                if came < SLOWEST * seconds:
                    raise Cut(f"{came:,} bytes in {seconds:.0f} s: too slow to wait for the rest")
                since, came = time.monotonic(), 0
    finally:
        ended.set()
    if stuck.is_set():
        raise Cut("the server sends, and nothing of the file")


def complete(partial: Path, file: official.File) -> bool:
    """Whether a transfer ended in an earlier run, and only the name is lacking."""
    return (
        file.digest is not None
        and size_of(partial) > 0
        and not official.packed_faults(partial, file)
    )


def size_of(path: Path) -> int:
    """A file's size in bytes, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def too_long(what: str, room: int) -> str:
    """The message for a file beyond the limits."""
    return f"{what} is longer than download.limits.total_bytes leaves room for: {room:,} bytes"


def forget_other(file: official.File, folder: Path) -> None:
    """Put aside what came from another address under the name of `file`, which has no digest that
    would tell, and note the present one for the next time."""
    path, note = folder / file.name, folder / f"{file.name}.url"
    before = note.read_text(encoding="utf-8") if note.is_file() else file.url
    if before != file.url:
        files.remove(folder / f"{file.name}.partial")
        if path.is_file():
            aside = folder / f"{file.name}.other"
            os.replace(path, aside)
            print(
                f"{path} was noted as of {before}, and {file.url} is wanted: it is {aside} now",
                file=sys.stderr,
                flush=True,
            )
    files.write_text(note, file.url)


def by_hand(file: official.File, path: Path, fault: str | None = None) -> str:
    """What somebody can do who has the file from elsewhere; `fault`: what is wrong with one that
    lies there already."""
    return (
        (f"       What lies at {path} is another file: {fault}\n" if fault else "")
        + f"       Fetch {file.url} by hand and put it at {path}"
        + (f" (its digest: {file.digest})" if file.digest else "")
        + f",\n       or name where it lies in {file.place}, "
        "or a site that has it in download.mirror."
    )
