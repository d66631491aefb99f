"""Read text files line by line, and text sets: `NAME.txt` of a data directory, one row per line, tabs between sides."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from model.errors import InputError, unknown
from model.files.regular_files import open_file
from trainers.data.raw_rows import RawTextSet, Sides, TextColumn

SIDES = {1: "a text", 2: "a pair", 3: "a text, its positive and its hard negative"}
"""Number of sides in a line -> their meaning."""
NAME = re.compile(r"\w[\w. -]*")
"""Names of text sets: letters, digits, `_`, `-`, `.` and blanks. A name is a part of a file's name in the corpus."""


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line of a UTF-8 file, without its end and the file's byte order mark.

    Only a newline, or a carriage return with a newline, ends a line: other such characters occur within texts.

    Raises:
        InputError: the file cannot be read, or is not UTF-8 text; with the line.
    """
    with open_file(path) as file:
        for number, line in enumerate(file, start=1):
            content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            yield number, _decoded(content, path, number).removesuffix("\n").removesuffix("\r")


def read_text_set(directory: Path, name: str) -> RawTextSet:
    """Read the text set `NAME.txt`, without its blank lines.

    Raises:
        InputError: the file is missing or has no text, or its lines have different numbers of sides.
    """
    path, known = directory / f"{name}.txt", text_set_names(directory)
    if name not in known:
        raise InputError(f"{unknown('text set', name, known)} Add {path} with one text per line.")
    texts: Sides = ()
    blank_lines = 0
    for number, line in text_lines(path):
        if not line.strip():
            blank_lines += 1
            continue
        row = line.split("\t")
        texts = texts or tuple(TextColumn() for _ in row)
        if len(row) != len(texts) or len(row) not in SIDES:
            raise InputError(f"{path}, line {number}: {_sides_fault(len(row), len(texts))}")
        for side, text in zip(texts, row, strict=True):
            side.append(text.strip())
    if not texts:
        raise InputError(f"{path} has no text. Write one text per line.")
    return RawTextSet(texts, blank_lines)


def text_set_names(directory: Path) -> list[str]:
    """Return the names of a directory's text sets."""
    return [path.stem for path in directory.glob("*.txt") if NAME.fullmatch(path.stem)]


def _decoded(line: bytes, path: Path, number: int) -> str:
    remedy = "Save the file as UTF-8 text"
    if b"\0" in line:
        raise InputError(f"{path}, line {number}: a NUL byte. {remedy}.")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        fault = f"byte 0x{line[error.start]:02x} is not UTF-8"
        raise InputError(f"{path}, line {number}: {fault}. {remedy}.") from None


def _sides_fault(count: int, before: int) -> str:
    found = f", but the lines before have {before}" if count != before else ""
    meanings = "; ".join(f"{sides} for {meaning}" for sides, meaning in SIDES.items())
    fault = f"the line has {count} tab-separated sides{found}"
    return f"{fault}. Write the same number in every line: {meanings}."
