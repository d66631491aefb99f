"""Read text files, and text sets: `NAME.txt` of a data directory, one row per line, tabs between the sides."""

import codecs
from pathlib import Path

from model.errors import InputError, unknown
from trainers.data.raw_rows import RawTextSet

SIDES = {1: "a text", 2: "a pair", 3: "a text, its positive and its hard negative"}
"""Number of sides in a line -> their meaning."""


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 text file, without its byte order mark.

    Raises:
        InputError: the file cannot be read, or is not UTF-8 text.
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


def read_text_set(directory: Path, name: str) -> RawTextSet:
    """Read the text set `NAME.txt`, without its blank lines.

    Raises:
        InputError: the file is missing or has no text, or its lines have different numbers of sides.
    """
    known = [path.stem for path in directory.glob("*.txt")]
    path = directory / f"{name}.txt"
    if name not in known:
        raise InputError(f"{unknown('text set', name, known)} Add {path} with one text per line.")
    lines = read_text(path).removesuffix("\n").split("\n")  # `splitlines` would also split at characters within texts
    rows = {number: line.split("\t") for number, line in enumerate(lines, start=1) if line.strip()}
    if not rows:
        raise InputError(f"{path} has no text. Write one text per line.")
    sides = len(next(iter(rows.values())))
    for number, row in rows.items():
        if len(row) != sides or sides not in SIDES:
            before = f", but the lines before have {sides}" if len(row) != sides else ""
            meanings = "; ".join(f"{count} for {meaning}" for count, meaning in SIDES.items())
            fault = f"the line has {len(row)} tab-separated sides{before}"
            raise InputError(f"{path}, line {number}: {fault}. Write the same number in every line: {meanings}.")
    texts = tuple([text.strip() for text in side] for side in zip(*rows.values(), strict=True))
    return RawTextSet(texts, len(lines) - len(rows))


def _line(content: bytes, position: int) -> int:
    """Return the number of the line that holds a byte."""
    return content.count(b"\n", 0, position) + 1
