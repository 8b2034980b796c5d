"""PNG files that no library writes: chunk by chunk."""

import struct
import zlib


def write_png(*chunks: tuple[bytes, bytes]) -> bytes:
    """The file of these chunks, a name and its content each, and of the one that ends it."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in (*chunks, (b"IEND", b""))
    )


def claim_size(width: int, height: int) -> bytes:
    """A PNG file that says it has these many pixels, 8 bits of red, green and blue each, in few
    bytes."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return write_png((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))))
