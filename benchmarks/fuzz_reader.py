"""What `benchmarks.fuzz` knows of a reader of files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """One kind of file, and the function that reads it."""

    write: Callable[[Path], object]
    """Writes the file, and all files that belong to it, into a directory that does not exist yet."""
    file: str
    """The damaged file, relative to the directory."""
    read: Callable[[Path], object]
    """Reads the directory. It may return anything, and may raise an InputError; all else is a fault."""
