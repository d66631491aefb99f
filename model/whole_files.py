"""Write files and directories that appear under their name only when they are complete."""

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PARTIAL = re.compile(r"\..+\.partial")
"""Names of files and directories that are being written, or that a killed process has left."""

UNFINISHED = re.compile(r"\..+\.(\d+)-[0-9a-f]{12}\.partial")
"""Names of unfinished files and folders; the group is the number of the process."""


def partial_name(name: str) -> str:
    """Return a name for the unfinished file or directory `name`; it cannot be guessed, so nothing can lie there."""
    return f".{name}.{os.getpid()}-{secrets.token_hex(6)}.partial"


@contextlib.contextmanager
def whole_file(target: Path, *, sync: bool) -> Iterator[IO[bytes]]:
    """Open a file that appears as `target`, complete, when the block ends; if the block raises, nothing changes.

    Args:
        target: the file; a file that exists is replaced. Its directory must exist.
        sync: whether to wait until the disk has stored the content, so that it survives a loss of power.
    """
    partial = target.with_name(partial_name(target.name))
    try:
        with open(partial, "xb") as file:  # x: the file is new, so it is no link
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Yield a new directory that is renamed to `target` when the block ends; if the block raises, it is deleted.

    Several processes may create the same `target` at the same time with equal content. The first one wins.

    Raises:
        OSError: the directory cannot be created or renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent, ignore_cleanup_errors=True) as name:
        # A temporary directory is private to its user; the one inside it has ordinary permissions.
        partial = Path(name) / target.name
        partial.mkdir()
        yield partial
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():
                raise


def delete_partial(directory: Path) -> None:
    """Delete the unfinished files and folders that killed processes left in a run directory; the run is locked."""
    for place, folders, files in os.walk(directory):  # it follows no links
        for name in [*folders, *files]:
            found = UNFINISHED.fullmatch(name)
            if found and not Path("/proc", found[1]).exists():
                path = Path(place, name)
                shutil.rmtree(path, ignore_errors=True) if name in folders else path.unlink(missing_ok=True)


def cut_unfinished_line(file: IO[bytes]) -> None:
    """Remove an unfinished last line, so that an appended line does not continue it; leave the position at the end."""
    file.seek(0)
    content = file.read()
    if content and not content.endswith(b"\n"):
        file.truncate(content.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
