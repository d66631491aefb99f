"""Lock a run directory, so that one process at a time writes to it."""

import contextlib
import fcntl
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ClassVar

from pydantic import ConfigDict

from model.errors import InputError
from trainers.folder import Folder
from trainers.interruption import lose
from trainers.settings import STRICT, read_record

LOCK = "lock"
RENEWAL_SECONDS = 20.0
"""Seconds between two renewals of a lock on an object store, which cannot see whether its holder still runs."""
STALE_SECONDS = 60.0
"""Seconds without renewal after which a lock on an object store is void."""


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Hold the lock of a run directory, after checking that the directory has no links.

    Raises:
        InputError: another process holds the lock; the message names the process. Or something is a symbolic link.
    """
    folder.check_links()
    holder = f"process {os.getpid()} on {platform.node()}"
    with _file_lock(folder, holder) if folder.local else _object_lock(folder, holder):
        yield


@contextmanager
def _file_lock(folder: Folder, holder: str) -> Iterator[None]:
    """Lock a file. The kernel releases the lock when the process ends, even if it is killed."""
    with folder.in_place(LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(folder.name, file.read().decode(errors="replace").strip()) from None
        file.truncate(0)
        file.write(holder.encode())
        file.flush()
        yield


@contextmanager
def _object_lock(folder: Folder, holder: str) -> Iterator[None]:
    """Hold a lock object, and renew it in a thread. If another process has taken the lock, end this command."""
    token, found = secrets.token_hex(8), _read(folder)
    if found and time.time() - found.renewed < STALE_SECONDS:
        raise _held(folder.name, f"{found.holder} (a lock left by a crash is void after {STALE_SECONDS:.0f} s)")
    _write(folder, token, holder)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWAL_SECONDS):
            with contextlib.suppress(OSError, InputError):  # a failed renewal is repeated before the lock is void
                if other := _other_holder(folder, token):
                    lose(f"Another process has taken the lock of run {folder.name!r}: {other}")
                    return
                _write(folder, token, holder)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if not _other_holder(folder, token):
            folder.delete(LOCK)


@dataclass(frozen=True)
class LockRecord:
    """The content of a lock object."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    holder: str
    token: str
    """Identifies the process that holds the lock."""
    renewed: float
    """Time of the last renewal, in seconds since 1970."""


def _write(folder: Folder, token: str, holder: str) -> None:
    folder.write_json(LOCK, asdict(LockRecord(holder, token, time.time())))


def _read(folder: Folder) -> LockRecord | None:
    """Read the lock's object; None if there is none."""
    remedy = "Delete it if no process uses the run."
    return read_record(folder, LOCK, LockRecord, remedy) if folder.exists(LOCK) else None


def _other_holder(folder: Folder, token: str) -> str | None:
    """Return the holder of the lock if another process has taken it."""
    found = _read(folder)
    return found.holder if found and found.token != token else None


def _held(run: str, holder: str) -> InputError:
    return InputError(f"Run {run!r} is in use by {holder}. Wait until that process ends, or stop it.")
