"""One driver at a time: a lock says who."""

import contextlib
import fcntl
import os
import platform
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.errors import InputError
from trainers.folder import Folder

LOCK = "lock"
RENEWED = 20.0
"""Seconds between two renewals of a lock on an object store, which knows nothing of processes."""
STALE = 60.0
"""Seconds after which such a lock has been left behind."""


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Hold a run's lock.

    Raises:
        InputError: another driver holds it; says which process.
    """
    holder = f"process {os.getpid()} on {platform.node()}"
    with _file_lock(folder.local, holder) if folder.local else _object_lock(folder, holder):
        yield


@contextmanager
def _file_lock(directory: Path, holder: str) -> Iterator[None]:
    """Lock a file: the kernel lets go of it when the process ends, however it ends."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / LOCK, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(directory.name, (directory / LOCK).read_text().strip()) from None
        file.truncate(0)
        file.write(holder)
        file.flush()
        yield


@contextmanager
def _object_lock(folder: Folder, holder: str) -> Iterator[None]:
    """Keep an object young as long as the driver lives; who finds another's name in it has lost it, and is stopped."""
    token = {"holder": holder, "token": secrets.token_hex(8)}
    found = _read(folder)
    if found and time.time() - found["renewed"] < STALE:
        raise _held(folder.name, f"{found['holder']} (a lock left by a crash is void after {STALE:.0f} s)")
    folder.write_json(LOCK, token | {"renewed": time.time()})
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWED):
            with contextlib.suppress(OSError):  # the next renewal comes long before the lock is stale
                if (_read(folder) or token)["token"] != token["token"]:
                    os.kill(os.getpid(), signal.SIGINT)
                    return
                folder.write_json(LOCK, token | {"renewed": time.time()})

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if (_read(folder) or token)["token"] == token["token"]:
            folder.delete(LOCK)


def _read(folder: Folder) -> dict[str, Any] | None:
    return folder.read_json(LOCK) if folder.exists(LOCK) else None


def _held(run: str, holder: str) -> InputError:
    return InputError(f"Run {run!r} is being driven by {holder}. Wait for it or end it.")
