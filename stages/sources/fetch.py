"""Download a publisher's file, and check it before it gets its name.

An interrupted transfer is resumed by an HTTP Range request, in this run or a later one: what has
arrived is in ``FILE.partial``. requests honours the variables HTTPS_PROXY, HTTP_PROXY, NO_PROXY and
REQUESTS_CA_BUNDLE.

Whatever a server sends is bounded: a transfer stops beyond the published size, and beyond
``download.limits.total_bytes``; one slower than `MIN_SPEED` counts as interrupted.
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
MIN_SPEED = 1000  # bytes per second, over ``download.timeout``; below it, we might wait for ever
ANSWER = 10  # times ``download.timeout``: limit until a server has sent its headers
REDIRECTS = 10  # followed in a row
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses worth another try


class Interrupted(Exception):
    """A transfer that ended too early, or did not begin: worth another try. The message is the
    reason."""


class Session(requests.Session):
    """A session that follows no redirect by itself: requests would read a redirect's body into
    memory, however long it is."""

    def get_redirect_target(self, response: requests.Response) -> None:
        return None


def fetch_all(publisher: official.Publisher, folder: Path, options: "Download") -> dict[str, Path]:
    """Fetch the publisher's files, together at most ``limits.total_bytes``; returns their paths."""
    paths, room = {}, options.limits.total_bytes
    for file in publisher.files:
        paths[file.name] = fetch(file, folder, options, room)
        room -= size_of(paths[file.name])
    return paths


def fetch(file: official.File, folder: Path, options: "Download", room: int | None = None) -> Path:
    """Download the file into `folder` unless it is there already, and check it; returns its path.
    `options` is the section ``download``; `room` is the size limit in bytes, by default
    ``limits.total_bytes``.

    Raises `UserError`, which says what to download by hand, if the transfer fails for good. No
    unchecked file ever has the final name.
    """
    room = options.limits.total_bytes if room is None else room
    path = folder / file.name
    partial = folder / f"{file.name}.partial"
    if not file.digest:
        set_aside_other(file, folder)
    fault = official.find_fault(path, file, options.limits) if path.is_file() else None
    if path.is_file() and not fault:
        return path
    advice = advise_by_hand(file, path, fault)
    address = f"{options.mirror.rstrip('/')}/{file.name}" if options.mirror else file.url
    folder.mkdir(parents=True, exist_ok=True)
    tries, longest, since = 0, size_of(partial), time.monotonic()
    with Session() as session:
        while True:
            resumed_at = size_of(partial)
            try:
                if (file.bytes or 0) > room:
                    raise UserError(explain_too_long(file.name, room))
                if not is_complete(partial, file):
                    transfer(session, address, partial, file, room, options.timeout)
                if size_of(partial) > room:
                    files.remove(partial)
                    raise UserError(explain_too_long(address, room))
                if not (faults := official.list_packed_faults(partial, file)):
                    os.replace(partial, path)
                    return path
                size = size_of(partial)
                if file.bytes is not None and size < file.bytes:
                    raise Interrupted(f"{size:,} of {file.bytes:,} bytes arrived")
                files.remove(partial)
                if resumed_at:
                    raise Interrupted("what was downloaded in pieces is not the published file")
                raise UserError(
                    f"{address} is not the published {file.name}: {', '.join(faults)}\n{advice}"
                )
            except Interrupted as error:
                gained, now = size_of(partial) - longest, time.monotonic()
                if gained > 0 and gained >= MIN_SPEED * (now - since):
                    tries = 0  # it makes progress
                longest, since = longest + max(gained, 0), now
                if tries == options.retries:
                    raise UserError(f"{address} cannot be fetched: {error}\n{advice}") from None
                pause = options.backoff * 2**tries
                tries += 1
                note = f"{file.name}: {error}; try {tries} of {options.retries} in {pause:g} s"
                print(note, file=sys.stderr, flush=True)
                time.sleep(pause)
            except requests.RequestException as error:
                raise UserError(
                    f"{address} cannot be fetched: {printable(error)}\n{advice}"
                ) from None
            except OSError as error:
                # requests raises one without errno if REQUESTS_CA_BUNDLE names no file
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
    """Download the rest of `partial`, and stop one byte past the published size or `room`. Raises
    `Interrupted` if another try may help, else `UserError` or requests' own exceptions."""
    start = size_of(partial)
    headers = {"Accept-Encoding": "identity"}  # the published bytes, not compressed on the way
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with request(session, address, headers=headers, timeout=timeout) as response:
            if response.status_code == 416 and start:
                files.remove(partial)
                raise Interrupted("the server's file is not longer than what was downloaded before")
            if response.status_code in TRANSIENT:
                raise Interrupted(
                    f"HTTP status {response.status_code} {printable(response.reason)}"
                )
            response.raise_for_status()
            resumed = response.status_code == 206 and response.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {start}-")
            if response.status_code == 206 and not resumed:
                files.remove(partial)
                raise Interrupted("the server sent another range of bytes than requested")
            begin = start if resumed else 0  # a server without Range support sends the whole file
            length = response.headers.get("Content-Length", "")
            announced = begin + int(length) if length.isdigit() else None
            if (announced or 0) > room:
                raise UserError(explain_too_long(address, room))
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
                limit = min(room, file.bytes or room) + 1
                for content in stream_body(response, limit - begin, timeout):
                    output.write(content)
                    bar.update(len(content))
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        # without urllib3's "Max retries exceeded"
        reason = getattr(error.args[0], "reason", error) if error.args else error
        raise Interrupted(f"no connection, or it was lost: {printable(reason)}") from None


def request(session: Session, address: str, **options: Any) -> requests.Response:
    """The final response to a request after redirects, without its body."""
    for _ in range(REDIRECTS):
        response = request_once(session, address, **options)
        try:
            target = requests.Session.get_redirect_target(session, response)
            address = urljoin(response.url, target or "")
        except ValueError:  # by the standard library, on brackets and bytes that are not text
            response.close()
            raise requests.exceptions.InvalidURL("redirected to an invalid address") from None
        if target is None:
            return response
        response.close()
    raise requests.TooManyRedirects(f"more than {REDIRECTS} redirects in a row")


def request_once(
    session: Session, address: str, timeout: float, **options: Any
) -> requests.Response:
    """The response to a single request. Raises `Interrupted` if its headers take longer than
    `ANSWER`: requests' own timeout starts again with each byte. The abandoned thread is a
    daemon."""
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
        raise Interrupted(f"no answer within {ANSWER * timeout:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def stream_body(response: requests.Response, limit: int, timeout: float) -> Iterator[bytes]:
    """The body as it arrives, at most `limit` bytes. Raises `Interrupted` if it arrives slower than
    `MIN_SPEED` for `timeout` seconds, or if a read does not return for that long: a server can send
    what is between the chunks of a body for ever."""
    since, arrived, reads = time.monotonic(), 0, 0
    ended, stuck = threading.Event(), threading.Event()

    def watch() -> None:
        seen = -1
        while not ended.wait(timeout):
            if reads == seen:
                stuck.set()
                response.raw.shutdown()  # ends the pending read, with or without an error
                return
            seen = reads

    threading.Thread(target=watch, daemon=True).start()
    try:
        while limit > 0 and (
            content := response.raw.read1(min(CHUNK, limit), decode_content=False)
        ):
            yield content
            limit, arrived, reads = limit - len(content), arrived + len(content), reads + 1
            if (seconds := time.monotonic() - since) >= timeout:
                if arrived < MIN_SPEED * seconds:
                    raise Interrupted(
                        f"{arrived:,} bytes in {seconds:.0f} s: too slow to wait for the rest"
                    )
                since, arrived = time.monotonic(), 0
    finally:
        ended.set()
    if stuck.is_set():
        raise Interrupted("the server sends data, but nothing of the file")


def is_complete(partial: Path, file: official.File) -> bool:
    """Whether an earlier run completed the transfer, and only the renaming is missing."""
    return (
        file.digest is not None
        and size_of(partial) > 0
        and not official.list_packed_faults(partial, file)
    )


def size_of(path: Path) -> int:
    """A file's size in bytes; 0 if there is none."""
    return path.stat().st_size if path.is_file() else 0


def explain_too_long(what: str, room: int) -> str:
    """The message for a file beyond the limits."""
    return f"{what} is longer than download.limits.total_bytes leaves room for: {room:,} bytes"


def set_aside_other(file: official.File, folder: Path) -> None:
    """Set aside a file of this name that came from another URL, since there is no digest to tell
    them apart, and record the present URL for the next run."""
    path, note = folder / file.name, folder / f"{file.name}.url"
    before = note.read_text(encoding="utf-8") if note.is_file() else file.url
    if before != file.url:
        files.remove(folder / f"{file.name}.partial")
        if path.is_file():
            aside = folder / f"{file.name}.other"
            os.replace(path, aside)
            print(
                f"note: {path} came from {before}, and {file.url} is wanted: it was renamed to "
                f"{aside}",
                file=sys.stderr,
                flush=True,
            )
    files.write_text(note, file.url)


def advise_by_hand(file: official.File, path: Path, fault: str | None = None) -> str:
    """How to provide the file by hand, for a message; `fault` is what is wrong with one that is
    already at `path`."""
    return (
        (f"       The file at {path} is another one: {fault}\n" if fault else "")
        + f"       Download {file.url} by hand and put it at {path}"
        + (f" (its digest: {file.digest})" if file.digest else "")
        + f",\n       or give its path as {file.place}, "
        "or a site that has it as download.mirror."
    )
