"""One driver at a time: a lock says who."""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from model.errors import InputError
from trainers.files import Folder

LOCK = "lock"


@contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Hold a run's lock; the kernel lets go of it when the process ends, however it ends.

    Raises:
        InputError: another driver holds it; says which process.
    """
    if not folder.local:
        yield
        return
    path = folder.local / LOCK
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text().strip()
            raise InputError(f"Run {folder.name!r} is being driven by {holder}. Wait for it or end it.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
