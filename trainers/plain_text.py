"""A file of the user's -> its text: UTF-8, and what is wrong with it told by line."""

import codecs
from pathlib import Path

from model.errors import InputError


def read_text(path: Path) -> str:
    """Read a whole text file, without its byte order mark.

    Raises:
        InputError: it cannot be read, or is not UTF-8 text.
    """
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}. Check the file and its permissions.") from None
    position = content.find(b"\0")
    if position >= 0:
        raise InputError(f"{path}, line {_line(content, position)}: a NUL byte. Save the file as UTF-8 text.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        fault = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise InputError(f"{path}, line {_line(content, error.start)}: {fault}. Save the file as UTF-8 text.") from None


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1
