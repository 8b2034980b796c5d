"""Requests that a server may get from somebody hostile or careless; serve_load.py sends them.

Each kind takes a port of 127.0.0.1 and returns the status of the answer, or `CLOSED` where the
server closed the connection before the whole request was sent.
"""

import contextlib
import http.client
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import machine  # noqa: F401  where `support` lies
from support.pictures import claim_size

CLOSED = "closed"
AT_ONCE = 16  # requests
FORM = "multipart/form-data; boundary=x"


def send(
    port: int, body: bytes | Iterator[bytes] = b"", method: str = "POST", **headers: str
) -> int | str:
    """Send a request, and read its answer even where the server stops reading the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        with contextlib.suppress(ConnectionError):
            connection.request(method, "/predict", body, names)
        try:
            return connection.getresponse().status
        except (ConnectionError, http.client.HTTPException):
            return CLOSED


def send_raw(port: int, *parts: bytes) -> int | str:
    """Send bytes that are no request of http.client's, and wait for an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(b"".join(parts))
            line = connection.makefile("rb").readline().split()
            return int(line[1]) if len(line) > 1 else CLOSED
        except ConnectionError:
            return CLOSED


def form(*files: tuple[str, bytes]) -> bytes:
    """The body of a form with these files."""
    parts = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n%s\r\n'
        % (name.encode(), content)
        for name, content in files
    )
    return b"".join(parts) + b"--x--\r\n"


def gigabyte() -> Iterator[bytes]:
    chunk = bytes(1_000_000)
    for _ in range(1000):
        yield chunk


HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\n"
KINDS: dict[str, Callable[[int, bytes], int | str]] = {
    "no image": lambda port, image: send(port, b"text, and no image" * 50),
    "half an image": lambda port, image: send(port, image[: len(image) // 2]),
    "PNG of 60,000×60,000": lambda port, image: send(port, claim_size(60_000, 60_000)),
    "body of 1 GB": lambda port, image: send(port, gigabyte(), Content_Length="1000000000"),
    "1 GB without a length": lambda port, image: send(port, gigabyte()),
    "slow body": lambda port, image: send_raw(port, HEAD, b"Content-Length: 1000\r\n\r\na"),
    "wrong method": lambda port, image: send(port, image, "DELETE"),
    "10,000 files": lambda port, image: send(
        port, form(*[("a.png", image[:20])] * 10_000), Content_Type=FORM
    ),
    "path in a file name": lambda port, image: send(
        port, form(("../../../../tmp/written-by-a-client.jpg", image)), Content_Type=FORM
    ),
    "no HTTP": lambda port, image: send_raw(
        port, b"\x16\x03\x01" + bytes(range(256)) + b"\r\n\r\n"
    ),
}


def send_all(port: int, image: bytes, requests: int) -> dict[str, Counter]:
    """Send requests of all kinds in turn, `AT_ONCE` at a time; `image` is the content of a good
    image. Returns, by kind, the number of answers with each status."""
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(requests)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        statuses = list(threads.map(lambda kind: KINDS[kind](port, image), kinds))
    answers = {kind: Counter() for kind in KINDS}
    for kind, status in zip(kinds, statuses):
        answers[kind][str(status)] += 1
    return answers
