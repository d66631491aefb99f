"""Make the pictures of the README from a real run: the terminal during a search, and the report.

    pip install pyte pillow
    python docs/pictures/make.py [--chromium PATH]

This script searches the sample in a pseudo-terminal, which takes some minutes. It writes the last screen that shows the
live table, and a picture of the report that Chromium takes.
"""

import codecs
import io
import itertools
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import pyte
import typer
from PIL import Image
from rich.console import Console
from rich.style import Style
from rich.text import Text

HERE = Path(__file__).parent
COLUMNS, LINES = 100, 34
PAUSE = 0.1
"""Seconds without output after which a screen is complete."""
WIDTH, HEIGHT = 1160, 1500
"""Size of the report's picture in pixels."""
STORAGE = Path("/tmp/runs")
ROW = "│ trial"
"""The start of a row of the live table."""
ROWS = 2
"""Smallest number of running trials in the pictured table."""


def main(
    chromium: Annotated[str, typer.Option(help="The browser that takes the picture of the report.")] = "chromium",
    trials: Annotated[int, typer.Option(min=2, help="Trials of the search.")] = 8,
) -> None:
    """Search the sample, and write terminal.svg and report.png beside this file."""
    STORAGE.mkdir()  # not a temporary name: the picture shows it
    try:
        options = ["--name", "first", "--storage", str(STORAGE), "--trials", str(trials)]
        screen = live_screen([sys.executable, "-m", "search.launch", "spaces/smart.py", *options])
        save_terminal(screen, HERE / "terminal.svg")
        save_report(chromium, STORAGE / "first" / "report.html", HERE / "report.png")
    finally:
        shutil.rmtree(STORAGE)


def live_screen(command: list[str]) -> list[Text]:
    """Run a command in a pseudo-terminal; return the lines of its last screen with the live table."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    process, terminal = pty.fork()
    if process == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        os.execvp(command[0], command)
    found: list[Text] = []
    while content := _read(terminal):
        stream.feed(decode(content))
        if select.select([terminal], [], [], PAUSE)[0]:
            continue  # the screen is being drawn
        if sum(ROW in line for line in screen.display) >= ROWS:
            found = [_line(screen, row) for row in range(LINES)]
    _, status = os.waitpid(process, 0)
    assert status == 0, "\n".join(screen.display)
    return found


def save_terminal(lines: list[Text], target: Path) -> None:
    """Write a terminal's lines as a picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    while lines and not lines[-1].plain.strip():
        lines = lines[:-1]
    for line in lines:
        console.print(line, no_wrap=True, crop=True)
    svg = console.export_svg(title="python -m search.launch spaces/smart.py --name first")
    # A picture in a README cannot load fonts. Without them, the browser uses fonts of the reader's system.
    target.write_text(re.sub(r"\s*@font-face \{.*?\n    \}", "", svg, flags=re.DOTALL))


def save_report(chromium: str, page: Path, target: Path) -> None:
    """Write a picture of the top of a report, in few colours."""
    with tempfile.TemporaryDirectory() as profile:
        picture = Path(profile) / "page.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000"]
        size = [f"--user-data-dir={profile}/profile", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"]
        subprocess.run([chromium, *flags, *size, page.as_uri()], check=True, capture_output=True, timeout=120)
        Image.open(picture).convert("RGB").quantize(64).save(target, optimize=True)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the command has ended
        return b""


def _line(screen: pyte.Screen, row: int) -> Text:
    """Return a line of a screen with its colours."""
    text = Text()
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    for (color, bold, italics), same in itertools.groupby(cells, lambda cell: (cell.fg, cell.bold, cell.italics)):
        style = Style(color=None if color == "default" else _color(color), bold=bold, italic=italics)
        text.append("".join(cell.data for cell in same), style)
    return text


def _color(name: str) -> str:
    """Translate a color of pyte: "brown" is the terminal's yellow, six digits are hexadecimal."""
    if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name):
        return f"#{name}"
    return {"brown": "yellow"}.get(name, name.replace("bright", "bright_"))


if __name__ == "__main__":
    typer.run(main)
