"""Write to a terminal, a pipe or a file; if it disappears, discard the lines and continue the command."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)
"""Errors of a pipe whose reader has ended, and of a terminal that was closed."""
ERRORS = 2
"""The descriptor of the standard error output."""
SHOW_CURSOR = "\x1b[?25h"
ESCAPE = "backslashreplace"
"""How a character is written that the encoding of a stream lacks."""


_told: list[TextIO | None] = []
"""Where `tell` prints while the errors of libraries go elsewhere."""


class LastingStream(io.TextIOWrapper):
    """A stream of text to which writing never fails."""

    def write(self, text: str) -> int:
        """Write text; without a reader, it and all later text goes nowhere."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if error.errno in GONE:  # a disk that is full may have room again
            discard(self.fileno())


def keep_output() -> None:
    """Let the command continue if whoever reads its output goes away."""
    for name, descriptor in (("stdout", 1), ("stderr", ERRORS)):
        stream = getattr(sys, name)
        if stream is None:
            discard(descriptor)  # it was closed: the next opened file would get its number, and libraries' lines
            setattr(sys, name, _utf8(descriptor))  # Python prints to the standard output if `file` is None
        elif stream is getattr(sys, f"__{name}__") and type(stream) is io.TextIOWrapper:
            setattr(sys, name, lasting(stream, stream.fileno()))


def lasting(like: io.TextIOWrapper, descriptor: int) -> LastingStream:
    """Return a stream on a file descriptor to which writing never fails, with the encoding of another stream."""
    errors = ESCAPE if like.errors == "strict" else like.errors
    return LastingStream(_bytes(descriptor), encoding=like.encoding, errors=errors, line_buffering=like.line_buffering)


def _utf8(descriptor: int) -> LastingStream:
    """Return a stream that writes every character, in UTF-8 or as an escape such as \\ud800."""
    return LastingStream(_bytes(descriptor), encoding="utf-8", errors=ESCAPE, line_buffering=True)


def _bytes(descriptor: int) -> io.BufferedWriter:
    return io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))


def tell(*texts: str, sep: str = " ") -> None:
    """Print to the standard error output, also while the errors of libraries go elsewhere."""
    print(end="", flush=True)  # a pipe or a file that receives both outputs then has their lines in order
    if stream := _told[-1] if _told else sys.stderr:  # None if it was closed
        print(*texts, sep=sep, file=stream, flush=True)


@contextlib.contextmanager
def libraries_errors_in(path: Path) -> Iterator[None]:
    """Append to a file what is written to the standard error output in the block, except by `tell`.

    Libraries write there in Python, in C++ and in threads of their own. If the file cannot be written, the lines are
    lost.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    before, terminal = sys.stderr, os.dup(ERRORS)
    _told.append(lasting(before, terminal) if isinstance(before, LastingStream) else before)
    os.dup2(file, ERRORS)
    sys.stderr = _utf8(file)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(terminal, ERRORS)
        _told.pop()
        os.close(terminal)
        os.close(file)


def show_cursor() -> None:
    """Show the terminal's cursor, which a live table hides."""
    if sys.stdout and sys.stdout.isatty():
        print(SHOW_CURSOR, end="", flush=True)


def discard(descriptor: int) -> None:
    """Let a file descriptor write nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
