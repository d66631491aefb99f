"""Write files with a checksum of their whole content; check it before a library reads the content.

The format of the file has room for a text. The writer puts BLANK there; the checksum replaces its zeros. So the
checksum covers names, types, shapes and data alike, and no library parses damaged content.
"""

import mmap
import zlib
from typing import IO

PREFIX, ZEROS = b"crc32:", b"00000000"
BLANK = (PREFIX + ZEROS).decode()
"""The text that the checksum fills in: the CRC-32 of the content with these zeros, in hexadecimal digits."""
Content = bytes | bytearray | mmap.mmap
KEY = "checksum"
"""Name of the text in formats whose texts have names."""


class ChecksumError(ValueError):
    """A content has no checksum, or a wrong one; the message completes "NAME: ..."."""


class ChecksumWriter:
    """A stream that ends with the checksum of what was written to it."""

    def __init__(self, file: IO[bytes]):
        self.file, self.total = file, 0

    def write(self, content: bytes | memoryview) -> int:
        """Write a part of the content."""
        self.total = zlib.crc32(content, self.total)
        return self.file.write(content)

    def flush(self) -> None:
        """Pass on what is buffered; `torch.save` calls this."""
        self.file.flush()

    def end(self) -> None:
        """Write the checksum."""
        self.file.write(PREFIX + _digits(zlib.crc32(PREFIX + ZEROS, self.total)))


def write_with_checksum(file: IO[bytes], content: Content, *, first: bool) -> None:
    """Write a content that has BLANK in it, with the checksum in its place.

    Args:
        first: whether the first BLANK in the content is meant, or the last one.
    """
    view = memoryview(content)
    start = _place(content, first=first)
    for part in (view[:start], _digits(_crc(view, start)), view[start + len(ZEROS) :]):
        file.write(part)


def check_checksum(content: Content, *, first: bool) -> None:
    """Check the checksum of a content.

    Args:
        first: as for `write_with_checksum`.

    Raises:
        ChecksumError: the content was changed.
    """
    view = memoryview(content)
    start = _place(content, first=first)
    if view[start : start + len(ZEROS)] != _digits(_crc(view, start)):
        raise ChecksumError("its checksum is wrong: the file was changed or is damaged")


def _place(content: Content, *, first: bool) -> int:
    """Return where the digits of the checksum start."""
    found = content.find(PREFIX) if first else content.rfind(PREFIX)
    if found < 0:
        raise ChecksumError("it has no checksum: the file is damaged, or another version of this program wrote it")
    return found + len(PREFIX)


def _crc(content: memoryview, start: int) -> int:
    """Return the CRC-32 of a content with zeros for the digits that begin at `start`."""
    return zlib.crc32(content[start + len(ZEROS) :], zlib.crc32(ZEROS, zlib.crc32(content[:start])))


def _digits(crc: int) -> bytes:
    return f"{crc:08x}".encode()
