"""Read the images in a request: into memory, never to disk, and only as far as the limits allow. A
bad request is answered with a sentence and a status below 500."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import HTTPException, Request
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

FORM = "multipart/form-data"
CHARSET = re.compile(r";\s*charset\s*=\s*(\"[^\"]*\"|[^;]*)", re.IGNORECASE)


@dataclass(frozen=True)
class RequestLimits:
    """Limits on a request's content and the time that it may take to arrive."""

    request_bytes: int = 20_000_000
    images: int = 16
    pixels: int = 25_000_000  # per image
    seconds: float = 20.0
    connections: int = 64  # concurrent


async def read_images(request: Request, limits: RequestLimits) -> list[tuple[str, bytes]]:
    """Name and content of each image: the body itself, or each file of a form. Raises
    `HTTPException`."""
    try:
        async with asyncio.timeout(limits.seconds):
            content = await read_body(request, limits.request_bytes)
    except TimeoutError:
        raise HTTPException(
            408, f"the request took more than {limits.seconds:g} seconds to arrive"
        ) from None
    except ClientDisconnect:  # nobody will read this
        raise HTTPException(400, "the request ended before its body did") from None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        images = await read_form(request, content, limits)
    else:
        images = [("image", content)] if content else []
    if not images:
        raise HTTPException(400, f"no image: send one as the body, or several as files of {FORM}")
    return images


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body, of at most `max_bytes`, whatever its header says. (Starlette's own limit,
    ``max_body_size``, does not tell the client what the limit is.)"""
    too_large = HTTPException(413, f"more than {max_bytes:,} bytes in a request")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > max_bytes:
        raise too_large
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > max_bytes:
            raise too_large
    return bytes(content)


class FormParser(MultiPartParser):
    """Starlette's parser, which also records whether the form was complete. File names are decoded
    as UTF-8, whatever a header says: other character sets may give names that JSON cannot hold."""

    def __init__(self, headers: Headers, stream: AsyncIterator[bytes], max_files: int):
        content_type = Headers({"content-type": CHARSET.sub("", headers["content-type"])})
        # no fields other than files
        super().__init__(content_type, stream, max_files=max_files, max_fields=0)
        self.ended = False

    def on_end(self) -> None:
        super().on_end()
        self.ended = True


async def read_form(
    request: Request, content: bytes, limits: RequestLimits
) -> list[tuple[str, bytes]]:
    """Name and content of each file of a form. Raises `HTTPException`."""

    async def stream() -> AsyncIterator[bytes]:
        yield content

    parser = FormParser(request.headers, stream(), limits.images)
    parser.spool_max_size = limits.request_bytes + 1  # larger files would go to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        reason = error.message
        if "Too many fields" in reason:
            reason = "a field is text, but images must be files (with curl: -F image=@FILE)"
        raise HTTPException(400, f"the form cannot be read: {reason}") from None
    if not parser.ended:
        raise HTTPException(400, "the form ends before its closing boundary")
    return [(file.filename or name, await file.read()) for name, file in form.multi_items()]
