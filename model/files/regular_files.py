"""Open files that a user or a downloaded directory names: ordinary files only, no pipe, device or folder."""

import os
import stat
from pathlib import Path
from typing import IO

from model.errors import InputError


def open_file(path: Path) -> IO[bytes]:
    """Open an ordinary file for reading. A device may have no end, and a pipe may never have content.

    Raises:
        InputError: there is no ordinary file that can be read at the path.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL, or half of a surrogate pair, in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"Cannot read {path}: {reason}. Check the file and its permissions.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"Cannot read {path}: it is no ordinary file. Replace it by one.")
    return open(descriptor, "rb")


def read_file(path: Path) -> bytes:
    """Return the content of an ordinary file.

    Raises:
        InputError: there is no ordinary file that can be read at the path.
    """
    with open_file(path) as file:
        return file.read()


def check_kind(path: str) -> None:
    """Check that a path inside a run holds an ordinary file, a folder or nothing.

    Raises:
        InputError: it is a symbolic link, a pipe or a device.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
        raise InputError(f"{path} is {kind}, which a run does not follow. Replace it by a copy of what it stands for.")
