"""Tell a machine's faults from a config's, by the error that a training or a write has raised."""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from model.errors import InputError, first_line


class MachineError(Exception):
    """A fault of the machine that lasts. The message names the fault and its place."""


class Blame(StrEnum):
    """What a fault is blamed on."""

    CONFIG = "config"
    """The error belongs to the config of the trial, or to the code that it selects."""
    MACHINE = "machine"
    """The disk, the storage or the network failed: no config can cause that."""
    UNCLEAR = "unclear"
    """Memory ran out, or a process or a GPU was lost: the machine's fault, unless other trials train meanwhile."""


@dataclass(frozen=True)
class Fault:
    """Why an attempt to train or to write has failed."""

    reason: str
    """One line."""
    blame: Blame


OWN_FILES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
"""Errors of a directory whose files are not those that the project writes. They do not pass by themselves."""
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EMFILE, errno.ENFILE)
"""Errors of the storage that libraries report in the text of errors of their own."""
STORAGE_TEXT = re.compile("|".join(re.escape(os.strerror(number)) for number in STORAGE))
TORCH_WRITER = re.compile("inline_container|PytorchStreamWriter")
"""How torch reports that a file could not be written; the system's error may be the context of this one."""
STORES = {"OperationalError", "StorageInternalError", "OutOfDiskError", "ObjectStoreFullError", "RuntimeEnvSetupError"}
"""Classes of SQLAlchemy, Optuna and Ray: a database or an object store failed."""
WRAPPERS = {"TuneError"}
"""Classes whose context is the real error."""
MEMORY_TEXT = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory"
    r"|bad_alloc|_ALLOC_FAILED|low on memory"
)
GPU_TEXT = re.compile(r"CUDA error(?!: device-side assert)|No CUDA GPUs are available|CUDA driver|NVML")
EXIT_DETAIL = re.compile(r"Worker exit detail: (.+?)(?= Some common causes|\n|$)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def fault_of(error: BaseException) -> Fault:
    """Return the fault behind an error: the first machine's fault among the error and its causes, else the error."""
    for found in _chain(error):
        if blame := _blame(found):
            return Fault(_reason(found), blame)
    return Fault(_reason(_raised(error) or error), Blame.CONFIG)


def machine_fault(error: BaseException) -> str | None:
    """Return the reason of an error if it is, or may be, the machine's fault; None if it is not."""
    fault = fault_of(error)
    return None if fault.blame == Blame.CONFIG else fault.reason


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    seen: set[int] = set()
    while error and id(error) not in seen:
        seen.add(id(error))
        yield error
        hides = TORCH_WRITER.search(str(error)) or WRAPPERS & _classes(error)
        error = error.__cause__ or _raised(error) or (error.__context__ if hides else None)


def _raised(error: BaseException) -> BaseException | None:
    """Return the error that a task of Ray has raised; None if this is no error about a task."""
    return getattr(error, "cause", None) if "RayTaskError" in _classes(error) else None


def _blame(error: BaseException) -> Blame | None:
    """Return what an error is blamed on by itself; None if it says nothing about the machine."""
    classes, text = _classes(error), str(error)
    if "RayTaskError" in classes:
        return None  # its cause says more
    if isinstance(error, MachineError):
        return Blame.MACHINE
    if isinstance(error, MemoryError) or "OutOfMemoryError" in classes:
        return Blame.UNCLEAR
    if isinstance(error, OSError):
        if error.errno in OWN_FILES:
            return None
        return Blame.UNCLEAR if error.errno == errno.ENOMEM else Blame.MACHINE
    if classes & STORES:
        return Blame.MACHINE
    if "RayError" in classes:
        return Blame.UNCLEAR
    if isinstance(error, RuntimeError) or "SafetensorError" in classes:
        if STORAGE_TEXT.search(text) or "PytorchStreamWriter failed" in text:
            return Blame.MACHINE
        if MEMORY_TEXT.search(text) or GPU_TEXT.search(text):
            return Blame.UNCLEAR
    return None


def _reason(error: BaseException) -> str:
    """Return one line about an error."""
    classes, text = _classes(error), COLOUR.sub("", str(error)).strip()
    if isinstance(error, MachineError | InputError):
        return text
    if "RayActorError" in classes:
        detail = EXIT_DETAIL.search(text)
        found = (detail.group(1) if detail else text.rpartition("\n")[2]).strip().rstrip(".")
        return "the worker process of the trial was lost" + (f": {found}" if found else "")
    if isinstance(error, OSError) and error.errno and error.errno not in OWN_FILES:
        return os.strerror(error.errno) + (f": {error.filename}" if error.filename else "")
    line = first_line(Exception(text))
    return line if type(error) is OSError else f"{type(error).__name__}: {line}" if text else type(error).__name__


def _classes(error: BaseException) -> set[str]:
    """Return the names of an error's class and its base classes: torch, Ray and SQLAlchemy need not be imported."""
    return {found.__name__ for found in type(error).__mro__}
