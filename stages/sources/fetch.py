"""A publisher's file from the internet, checked before it gets its name.

A transfer that was cut is taken up again where it ended, by an HTTP Range request, in this run or a
later one: what came so far lies in ``FILE.partial``. requests honours the variables HTTPS_PROXY,
HTTP_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE.
"""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from tqdm import tqdm

from stages.runtime.errors import UserError
from stages.sources import official
from stages.storage import files

if TYPE_CHECKING:
    from stages.params.schema import Download

CHUNK = 1 << 14  # bytes; the rest of a chunk is lost when a transfer is cut
PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may be gone at the next try


class Cut(Exception):
    """A transfer that ended before the file did, or did not begin: worth another try. The message
    is the reason."""


def fetch(file: official.File, folder: Path, options: "Download") -> Path:
    """The file in `folder`, checked; fetched unless it lies there already. `options` is the section
    ``download``.

    Raises `UserError` when the transfer fails for good, with what to fetch by hand; nothing
    unchecked ever has the file's name.
    """
    path = folder / file.name
    partial = folder / f"{file.name}.partial"
    if path.is_file() and official.fault(path, file, options.limits) is None:
        return path
    address = f"{options.mirror.rstrip('/')}/{file.name}" if options.mirror else file.url
    folder.mkdir(parents=True, exist_ok=True)
    tries, longest = 0, size_of(partial)
    with requests.Session() as session:
        while True:
            begun = size_of(partial)
            try:
                if not complete(partial, file):
                    transfer(session, address, partial, file, options.timeout)
                if not (faults := official.packed_faults(partial, file)):
                    os.replace(partial, path)
                    return path
                size = size_of(partial)
                if file.bytes is not None and size < file.bytes:
                    raise Cut(f"{size:,} of {file.bytes:,} bytes came")
                files.remove(partial)
                if not begun:
                    raise UserError(
                        f"{address} is not the published {file.name}: "
                        f"{', '.join(faults)}\n{by_hand(file, path)}"
                    )
                raise Cut("what was fetched in pieces is not the published file")
            except Cut as error:
                if size_of(partial) > longest:  # it got on: the tries count anew
                    tries, longest = 0, size_of(partial)
                if tries == options.retries:
                    raise UserError(
                        f"{address} cannot be fetched: {error}\n{by_hand(file, path)}"
                    ) from None
                pause = options.backoff * 2**tries
                tries += 1
                print(
                    f"{file.name}: {error}; try {tries} of {options.retries} in {pause:g} s",
                    file=sys.stderr,
                    flush=True,
                )
                time.sleep(pause)
            except requests.RequestException as error:
                raise UserError(
                    f"{address} cannot be fetched: {error}\n{by_hand(file, path)}"
                ) from None
            except OSError as error:
                raise UserError(f"{partial} cannot be written: {error}") from None


def transfer(
    session: requests.Session, address: str, partial: Path, file: official.File, timeout: float
) -> None:
    """Fetch what `partial` lacks. Raises `Cut` where another try may help, `UserError` where none
    will."""
    start = size_of(partial)
    headers = {"Accept-Encoding": "identity"}  # the bytes as published, not packed for the way
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with session.get(address, headers=headers, stream=True, timeout=timeout) as response:
            if response.status_code == 416 and start:
                files.remove(partial)
                raise Cut("the server's file is not longer than what was fetched before")
            if response.status_code in PASSING:
                raise Cut(f"HTTP status {response.status_code} {response.reason}")
            response.raise_for_status()
            resumed = response.status_code == 206 and response.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {start}-")
            if response.status_code == 206 and not resumed:
                files.remove(partial)
                raise Cut("the server sent another range of bytes than it was asked for")
            begin = start if resumed else 0  # a server without ranges sends the whole file
            length = response.headers.get("Content-Length", "")
            total = file.bytes or (begin + int(length) if length.isdigit() else None)
            with (
                open(partial, "ab" if resumed else "wb") as output,
                tqdm(
                    desc=file.name,
                    total=total,
                    initial=begin,
                    unit="B",
                    unit_scale=True,
                    disable=None,
                ) as bar,  # on a terminal
            ):
                for content in response.iter_content(CHUNK):
                    output.write(content)
                    bar.update(len(content))
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        reason = (
            getattr(error.args[0], "reason", error) if error.args else error
        )  # without urllib3's "Max retries exceeded"
        raise Cut(f"no connection, or it broke off: {reason}") from None


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


def by_hand(file: official.File, path: Path) -> str:
    """What somebody can do who has the file from elsewhere."""
    return (
        f"       Fetch {file.url} by hand and put it at {path}"
        + (f" (its digest: {file.digest})" if file.digest else "")
        + f",\n       or name where it lies in {file.place}, "
        "or a site that has it in download.mirror."
    )
