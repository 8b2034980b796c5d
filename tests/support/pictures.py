"""Unusual PNG files, written chunk by chunk."""

import struct
import zlib


def write_png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A file of these chunks, each a name and its content, and of the final chunk."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in (*chunks, (b"IEND", b""))
    )


def claim_size(width: int, height: int) -> bytes:
    """A small PNG file that claims to be this large, with 8 bits each of red, green and blue."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return write_png((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))))
