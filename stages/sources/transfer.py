"""Transfer a file by HTTP, within bounds whatever the server sends: a transfer stops beyond the
published size, and beyond ``download.limits.total_bytes``; one slower than `MIN_SPEED` counts as
interrupted. requests honours the variables HTTPS_PROXY, HTTP_PROXY, NO_PROXY and
REQUESTS_CA_BUNDLE."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3

from stages.runtime import progress
from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import official
from stages.storage import files

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
    start = measure_size(partial)
    headers = {"Accept-Encoding": "identity"}  # the published bytes, not compressed on the way
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with request(session, address, headers=headers, timeout=timeout) as response:
            begin = find_beginning(response, partial)
            length = response.raw.length_remaining  # None if unknown, or not a number
            announced = None if length is None else begin + length
            if (announced or 0) > room:
                raise UserError(explain_too_long(address, room))
            with (
                open(partial, "ab" if begin else "wb") as output,
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


def find_beginning(response: requests.Response, partial: Path) -> int:
    """The place in the file where the body of `response`, to a request for the rest of `partial`,
    begins: its size, or 0 from a server that does not support ranges and sends the whole file.
    Raises `Interrupted` if another try may help, for which `partial` is deleted if it does not fit;
    else requests' own exceptions."""
    start, status = measure_size(partial), response.status_code
    if status == 416 and start:
        files.remove(partial)
        raise Interrupted("the server's file is not longer than what was downloaded before")
    if status in TRANSIENT:
        raise Interrupted(f"HTTP status {status} {printable(response.reason)}")
    response.raise_for_status()
    if status != 206:
        return 0
    if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        files.remove(partial)
        raise Interrupted("the server sent another range of bytes than requested")
    return start


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
    answer: Future[requests.Response] = Future()

    def ask() -> None:
        try:
            answer.set_result(session.get(address, stream=True, timeout=timeout, **options))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(ANSWER * timeout)
    except TimeoutError:
        raise Interrupted(f"no answer within {ANSWER * timeout:g} s") from None


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


def explain_too_long(what: str, room: int) -> str:
    """The message for a file beyond the limits."""
    return f"{what} is longer than download.limits.total_bytes leaves room for: {room:,} bytes"


def measure_size(path: Path) -> int:
    """A file's size in bytes; 0 if there is none."""
    return path.stat().st_size if path.is_file() else 0
