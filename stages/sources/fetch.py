"""Download a publisher's file, and check it before it gets its name.

An interrupted transfer is resumed by an HTTP Range request, in this run or a later one: what has
arrived is in ``FILE.partial``.
"""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from stages.runtime.errors import UserError
from stages.runtime.text import printable
from stages.sources import official
from stages.sources.transfer import (
    MIN_SPEED,
    Interrupted,
    Session,
    explain_too_long,
    measure_size,
    transfer,
)
from stages.storage import files

if TYPE_CHECKING:
    from stages.params.schema import Download


class WrongFile(Exception):
    """A file that is not the published one; the message says what differs."""


def fetch_all(publisher: official.Publisher, folder: Path, options: "Download") -> dict[str, Path]:
    """Fetch the publisher's files, together at most ``limits.total_bytes``; returns their paths."""
    paths, room = {}, options.limits.total_bytes
    for file in publisher.files:
        paths[file.name] = fetch(file, folder, options, room)
        room -= measure_size(paths[file.name])
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
    try:
        download(file, address, partial, room, options)
        os.replace(partial, path)
    except Interrupted as error:
        raise UserError(f"{address} cannot be fetched: {error}\n{advice}") from None
    except requests.RequestException as error:
        raise UserError(f"{address} cannot be fetched: {printable(error)}\n{advice}") from None
    except WrongFile as error:
        raise UserError(f"{address} is not the published {file.name}: {error}\n{advice}") from None
    except OSError as error:
        # requests raises one without errno if REQUESTS_CA_BUNDLE names no file
        what = f"{address} cannot be fetched"
        what = what if error.errno is None else f"{partial} cannot be written"
        raise UserError(f"{what}: {printable(error)}") from None
    return path


def download(
    file: official.File, address: str, partial: Path, room: int, options: "Download"
) -> None:
    """Transfer the file to `partial` and check it. An interrupted transfer is tried again
    ``retries`` times in a row, not counting those that make progress. Raises `Interrupted` after
    the last one, `WrongFile` for another file, `UserError` for one that is too long, or requests'
    own exceptions."""
    tries, longest, since = 0, measure_size(partial), time.monotonic()
    with Session() as session:
        while True:
            try:
                return try_once(session, file, address, partial, room, options.timeout)
            except Interrupted as error:
                gained, now = measure_size(partial) - longest, time.monotonic()
                if gained > 0 and gained >= MIN_SPEED * (now - since):
                    tries = 0  # it makes progress
                longest, since = longest + max(gained, 0), now
                if tries == options.retries:
                    raise
                pause = options.backoff * 2**tries
                tries += 1
                note = f"{file.name}: {error}; try {tries} of {options.retries} in {pause:g} s"
                print(note, file=sys.stderr, flush=True)
                time.sleep(pause)


def try_once(
    session: Session, file: official.File, address: str, partial: Path, room: int, timeout: float
) -> None:
    """Transfer what `partial` lacks, and check it; raises as `download` does."""
    resumed = measure_size(partial) > 0
    if (file.bytes or 0) > room:
        raise UserError(explain_too_long(file.name, room))
    if not is_complete(partial, file):
        transfer(session, address, partial, file, room, timeout)
    if measure_size(partial) > room:
        files.remove(partial)
        raise UserError(explain_too_long(address, room))
    refuse_other(partial, file, resumed)


def refuse_other(partial: Path, file: official.File, resumed: bool) -> None:
    """Raise `WrongFile` if the transferred file is not the published one, which is deleted; or
    `Interrupted` if another try may help: it is incomplete, or was `resumed`."""
    if not (faults := official.list_packed_faults(partial, file)):
        return
    size = measure_size(partial)
    if file.bytes is not None and size < file.bytes:
        raise Interrupted(f"{size:,} of {file.bytes:,} bytes arrived")
    files.remove(partial)
    if resumed:
        raise Interrupted("what was downloaded in pieces is not the published file")
    raise WrongFile(", ".join(faults))


def is_complete(partial: Path, file: official.File) -> bool:
    """Whether an earlier run completed the transfer, and only the renaming is missing."""
    return (
        file.digest is not None
        and measure_size(partial) > 0
        and not official.list_packed_faults(partial, file)
    )


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
