"""`NAME.txt` of a data directory -> a text set: a text a line, with tabs between the sides of a line."""

from pathlib import Path

from model.errors import InputError, unknown
from trainers.plain_text import read_text
from trainers.raw import RawTexts

SIDES = {1: "a text", 2: "a pair", 3: "a text, its positive and its hard negative"}
"""What the sides of a line are, by their number."""


def read_text_set(directory: Path, name: str) -> RawTexts:
    """Read `NAME.txt`; blank lines are skipped, and counted.

    Raises:
        InputError: there is no such file or no text in it, or a line has another number of sides than the first.
    """
    known = [path.stem for path in directory.glob("*.txt")]
    path = directory / f"{name}.txt"
    if name not in known:
        raise InputError(f"{unknown('text set', name, known)} Add {path}, a text a line.")
    lines = read_text(path).removesuffix("\n").split("\n")  # `splitlines` would also cut at what texts contain
    rows = {number: line.split("\t") for number, line in enumerate(lines, start=1) if line.strip()}
    if not rows:
        raise InputError(f"{path} has no text. Write a text a line.")
    sides = len(next(iter(rows.values())))
    for number, row in rows.items():
        if len(row) != sides or sides not in SIDES:
            before = f", of the lines before {sides}" if len(row) != sides else ""
            meanings = "; ".join(f"{count} for {meaning}" for count, meaning in SIDES.items())
            fault = f"the number of sides, which tabs separate, is {len(row)}{before}"
            raise InputError(f"{path}, line {number}: {fault}. Write in every line the same: {meanings}.")
    texts = tuple([text.strip() for text in side] for side in zip(*rows.values(), strict=True))
    return RawTexts(texts, len(lines) - len(rows))
