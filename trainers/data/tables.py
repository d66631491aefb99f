"""Read tab-separated tables row by row. Each row is one line: no field holds a tab or a line break."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from model.errors import InputError, shortened
from trainers.data.text_files import text_lines

HEADER_LINE = 1
"""Number of the header's line; row r, counted from 0, has the line r + 2."""


def table_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number of each row and its fields in the order of `columns`; the first line names the columns.

    A field may be quoted: then it starts and ends with a double quote, and double quotes within it are doubled.

    Raises:
        InputError: a column is missing, a row has another number of fields than the header, or a quote is not closed.
    """
    lines = text_lines(path)
    _, first = next(lines, (HEADER_LINE, ""))
    header = _fields(first, path, HEADER_LINE)
    positions = [_column_position(path, header, name) for name in columns]
    for number, line in lines:
        fields = _fields(line, path, number)
        if len(fields) != len(header):
            fault = f"the row has {len(fields)} fields, the header {len(header)}"
            raise InputError(f"{path}, line {number}: {fault}. Write one row per line, with tabs between the fields.")
        yield number, [fields[position] for position in positions]


def _fields(line: str, path: Path, number: int) -> list[str]:
    fields = line.split("\t") if line else []
    if "\r" in line:
        remedy = "End the lines of the file with a newline, and write no line break in a text"
        raise InputError(f"{path}, line {number}: a carriage return within the line. {remedy}.")
    return [_unquoted(field, path, number) for field in fields] if '"' in line else fields


def _unquoted(field: str, path: Path, number: int) -> str:
    if not field.startswith('"'):
        return field
    inner = field[1:-1].replace('""', "")
    if len(field) == 1 or not field.endswith('"') or '"' in inner:
        fault = f"the field {shortened(field, 40)} starts with a double quote but does not end with its closing quote"
        remedy = "Write no tab or line break in a text, and double the quotes inside a quoted field"
        raise InputError(f"{path}, line {number}: {fault}. {remedy}.")
    return field[1:-1].replace('""', '"')


def _column_position(path: Path, header: list[str], name: str) -> int:
    if header.count(name) != 1:
        fault = "occurs twice" if name in header else "is not"
        found = f"found {', '.join(shortened(column, 40) for column in header[:20])}" if header else "the file is empty"
        raise InputError(
            f"{path}, line {HEADER_LINE}: column {name!r} {fault} in the header; {found}. Separate columns with tabs."
        )
    return header.index(name)
