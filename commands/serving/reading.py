"""The images in a request: read into memory, never onto a disk, and no further than the limits
allow. What is wrong with a request is answered by a sentence, with a status below 500."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

FORM = "multipart/form-data"
CHARSET = re.compile(r";\s*charset\s*=\s*(\"[^\"]*\"|[^;]*)", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """What a request may hold, and how long it may take to arrive."""

    request_bytes: int = 20_000_000
    images: int = 16
    pixels: int = 25_000_000  # of an image
    seconds: float = 20.0
    connections: int = 64  # at a time


async def read_images(request: Request, limits: Limits) -> list[tuple[str, bytes]]:
    """Name and content of each image: the body is one, or a form with one a file. Raises
    `HTTPException`."""
    try:
        async with asyncio.timeout(limits.seconds):
            content = await read_body(request, limits.request_bytes)
    except TimeoutError:
        raise HTTPException(
            408, f"the request took more than {limits.seconds:g} seconds to arrive"
        ) from None
    except ClientDisconnect:  # nobody is there to read this
        raise HTTPException(400, "the request ended before its body did") from None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        images = await read_form(request, content, limits)
    else:
        images = [("image", content)] if content else []
    if not images:
        raise HTTPException(400, f"no image: send one as the body, or several as files of {FORM}")
    return images


async def read_body(request: Request, most: int) -> bytes:
    """The body, of at most `most` bytes, whatever its header says. (The limit of Starlette's own,
    ``max_body_size``, answers without saying what it is.)"""
    too_large = HTTPException(413, f"more than {most:,} bytes in a request")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise too_large
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise too_large
    return bytes(content)


class FormParser(MultiPartParser):
    """Starlette's, which knows whether the form was complete. Names of files are UTF-8, whatever a
    header says: some character sets give names that JSON cannot hold."""

    def __init__(self, headers: Headers, stream: AsyncIterator[bytes], most: int):
        given = CHARSET.sub("", headers["content-type"])
        # without fields that are no files
        super().__init__(Headers({"content-type": given}), stream, max_files=most, max_fields=0)
        self.ended = False

    def on_end(self) -> None:
        super().on_end()
        self.ended = True


async def read_form(request: Request, content: bytes, limits: Limits) -> list[tuple[str, bytes]]:
    """Name and content of each file of a form."""

    async def whole() -> AsyncIterator[bytes]:
        yield content

    parser = FormParser(request.headers, whole(), limits.images)
    parser.spool_max_size = limits.request_bytes + 1  # larger files would go to the disk
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError) as error:
        reason = getattr(error, "message", None) or str(error)
        if "Too many fields" in reason:
            reason = "a field is text, and images come as files (with curl: -F image=@FILE)"
        raise HTTPException(400, f"the form cannot be read: {reason}") from None
    if not parser.ended:
        raise HTTPException(400, "the form ends before its closing boundary")
    items = form.multi_items()
    return [(one.filename or name, await one.read()) for name, one in items]
