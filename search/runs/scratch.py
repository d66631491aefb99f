"""Keep the temporary files of a command in one private folder; remove the folders of killed commands."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import InputError

PREFIX = "minbert-"
MARKER = ".private-scratch"
"""File in each private folder. A folder without it is a user's, whatever its name is."""
PLACES = ("/tmp", "/var/tmp")
"""Folders for temporary files that are tried after the one that TMPDIR names."""
SOCKET_BYTES = 107
"""The longest path of a Unix socket."""
RAY = "ray"
"""Ray's folder in the private folder: Ray lets every user write to its own, but nobody else reaches it here."""
REMOVALS = 5
"""Attempts to remove the folder at the end: a worker that is being ended may still write."""


@contextmanager
def private_scratch() -> Iterator[Path]:
    """Make all temporary files of this process and of its children lie in one folder that only the user can open.

    At the end the folder is deleted, and Ray's processes that still use it are ended. A killed process leaves them
    behind; then the next call by the same user ends and deletes them. The lock on the folder, which the kernel releases
    when a process ends, proves that its process is dead. Inside another call, this is the folder of that call.

    Raises:
        InputError: no folder for temporary files can be used.
    """
    outer = Path(tempfile.gettempdir())
    if (outer / MARKER).is_file():
        yield outer
        return
    base = scratch_base((str(outer), *PLACES))
    clear_dead(base)
    with _locked_folder(base) as place, _temporary_files_in(place):
        try:
            yield place
        finally:
            try:
                _end_orphans(place)
            finally:
                _remove(place)


def scratch_base(places: tuple[str, ...]) -> Path:
    """Return the first of some folders that can hold Ray's temporary files.

    Raises:
        InputError: none can.
    """
    for place in places:
        if socket_path_bytes(place) <= SOCKET_BYTES and _plain(place) and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    raise InputError(
        f"No folder for temporary files can be used: {', '.join(dict.fromkeys(places))}. Set TMPDIR to a folder that "
        f"can be written, with a path of at most {SOCKET_BYTES - socket_path_bytes('')} characters."
    )


def socket_path_bytes(base: str) -> int:
    """Return the length of the longest path of a socket that Ray opens in a private folder under `base`."""
    session = f"session_2026-01-02_03-04-05_678901_{os.getpid()}/sockets/dash_MetricsHead"
    return len(os.fsencode(f"{base}/{PREFIX}12345678/{RAY}/{session}"))


def clear_dead(base: Path) -> None:
    """Delete this user's private folders whose processes are dead, and end the Ray processes that still use them."""
    for place in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # for example, it is another user's, or another start deletes it right now
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid() and (place / MARKER).is_file():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _end_orphans(place)
                    shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(descriptor)


def _plain(place: str) -> bool:
    """Return whether a path has only characters that no library takes for part of a URI or of a command line."""
    return re.fullmatch(r"[\w./-]+", place, re.ASCII) is not None


@contextmanager
def _locked_folder(base: Path) -> Iterator[Path]:
    """Create a folder that only the user can open, and hold a lock on it."""
    place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        (place / MARKER).touch()  # last: without it no other start takes the folder for that of a dead process
        yield place
    finally:
        os.close(descriptor)


@contextmanager
def _temporary_files_in(place: Path) -> Iterator[None]:
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(place)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if variable is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = variable


def _remove(place: Path) -> None:
    for _ in range(REMOVALS):
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            return
        time.sleep(0.2)


def _end_orphans(place: Path) -> None:
    """Kill Ray's processes that have a file of an ended command's folder open: agents outlive a killed raylet."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
            handle = os.pidfd_open(int(process.name))  # the number cannot become another process's while this is open
            try:
                if (process / "comm").read_bytes().startswith(b"ray::") and _uses(process, place):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def _uses(process: Path, place: Path) -> bool:
    for file in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed a moment ago
            if file.readlink().is_relative_to(place.resolve()):
                return True
    return False
