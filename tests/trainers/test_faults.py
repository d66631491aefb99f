"""Test which errors are blamed on the machine, and the line that names them."""

import errno
import os
import pickle

import pyarrow
import pytest
import torch
from safetensors import SafetensorError
from sqlalchemy.exc import OperationalError

from model.errors import InputError
from trainers.faults import Blame, Fault, MachineError, fault_of, machine_fault

LOST = """The actor died unexpectedly before finishing this task.
\tclass_name: SearchTrial
\tpid: 71
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was \
killed by the OOM killer due to high memory usage, (2) ray stop --force was called."""


class RayError(Exception):
    """As Ray's: the ground does not import Ray."""


class RayActorError(RayError):
    pass


class OutOfDiskError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: BaseException):
        super().__init__("ray::SearchTrial.train()")
        self.cause = cause


class TuneError(Exception):
    pass


def system(number: int, *place: str) -> OSError:
    return OSError(number, os.strerror(number), *place)


def within(error: Exception, context: BaseException) -> Exception:
    """Return an error that was raised while another one was handled."""
    error.__context__ = context
    return error


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


FULL = Fault("No space left on device: /runs/x", Blame.MACHINE)
FAULTS: list[tuple[BaseException, Fault]] = [
    (system(errno.ENOSPC, "/runs/x"), FULL),
    (system(errno.ENOSPC), Fault("No space left on device", Blame.MACHINE)),
    (system(errno.EDQUOT, "/runs/x"), Fault("Disk quota exceeded: /runs/x", Blame.MACHINE)),
    (system(errno.EIO), Fault("Input/output error", Blame.MACHINE)),
    (system(errno.EROFS), Fault("Read-only file system", Blame.MACHINE)),
    (system(errno.EACCES, "/runs/x"), Fault("Permission denied: /runs/x", Blame.MACHINE)),
    (system(errno.ENOENT, "/runs/corpus"), Fault("No such file or directory: /runs/corpus", Blame.MACHINE)),
    (system(errno.ECONNRESET), Fault("Connection reset by peer", Blame.MACHINE)),
    (system(errno.EFBIG), Fault("File too large", Blame.MACHINE)),
    (system(errno.ENOMEM), Fault("Cannot allocate memory", Blame.UNCLEAR)),
    (
        OSError(28, "Error writing bytes to file. Detail: [errno 28] No space left on device"),  # as pyarrow raises it
        Fault("No space left on device", Blame.MACHINE),
    ),
    (
        OSError("When uploading part for key 'x' in bucket 'b': AWS Error UNKNOWN (HTTP status 500)"),
        Fault("When uploading part for key 'x' in bucket 'b': AWS Error UNKNOWN (HTTP status 500)", Blame.MACHINE),
    ),
    (
        within(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704"), system(errno.ENOSPC)),
        Fault("No space left on device", Blame.MACHINE),
    ),
    (
        RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0: file write failed"),
        Fault(
            "RuntimeError: [enforce fail] PytorchStreamWriter failed writing file data/0: file write failed",
            Blame.MACHINE,
        ),
    ),
    (
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        Fault(
            "SafetensorError: Error while serializing: I/O error: No space left on device (os error 28)", Blame.MACHINE
        ),
    ),
    (within(TuneError("Traceback ..."), system(errno.ENOSPC, "/runs/x")), FULL),
    (caused(RuntimeError("Caught unexpected exception"), system(errno.ENOSPC, "/runs/x")), FULL),
    (RayTaskError(system(errno.ENOSPC, "/runs/x")), FULL),
    (OperationalError("INSERT", {}, Exception("the database is gone")), Fault("", Blame.MACHINE)),
    (OutOfDiskError("Local disk is full"), Fault("OutOfDiskError: Local disk is full", Blame.MACHINE)),
    (MachineError("It failed"), Fault("It failed", Blame.MACHINE)),
    (MemoryError(), Fault("MemoryError", Blame.UNCLEAR)),
    (pyarrow.ArrowMemoryError("malloc of size 9"), Fault("ArrowMemoryError: malloc of size 9", Blame.UNCLEAR)),
    (torch.OutOfMemoryError("CUDA out of memory."), Fault("OutOfMemoryError: CUDA out of memory", Blame.UNCLEAR)),
    (
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors"),
        Fault("RuntimeError: CUDA error: out of memory", Blame.UNCLEAR),
    ),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), Fault("", Blame.UNCLEAR)),
    (RuntimeError("CUDA error: uncorrectable ECC error encountered"), Fault("", Blame.UNCLEAR)),
    (
        RayActorError(LOST),
        Fault(
            "the worker process of the trial was lost: Worker unexpectedly exits with a connection error code 2. "
            "End of file",
            Blame.UNCLEAR,
        ),
    ),
    (
        RayActorError("The actor died.\n\n\x1b[36mray::X\x1b[39m\nModuleNotFoundError: No module named 'x'"),
        Fault("the worker process of the trial was lost: ModuleNotFoundError: No module named 'x'", Blame.UNCLEAR),
    ),
    (RayActorError(" "), Fault("the worker process of the trial was lost", Blame.UNCLEAR)),
    (ValueError("a rate of -1"), Fault("ValueError: a rate of -1", Blame.CONFIG)),
    (RuntimeError("CUDA error: device-side assert triggered"), Fault("", Blame.CONFIG)),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), Fault("", Blame.CONFIG)),
    (
        system(errno.ENOTDIR, "/runs/x"),
        Fault("NotADirectoryError: [Errno 20] Not a directory: '/runs/x'", Blame.CONFIG),
    ),
    (within(ValueError("a rate of -1"), system(errno.ENOENT)), Fault("ValueError: a rate of -1", Blame.CONFIG)),
    (RayTaskError(ValueError("a rate of -1")), Fault("ValueError: a rate of -1", Blame.CONFIG)),
]


@pytest.mark.parametrize(("error", "fault"), FAULTS, ids=lambda value: str(value)[:50])
def test_an_error_is_blamed_on_the_machine_or_the_config_and_named_in_one_line(error, fault):
    found = fault_of(error)
    assert found.blame == fault.blame
    assert not fault.reason or found.reason == fault.reason
    assert found.reason and "\n" not in found.reason
    assert machine_fault(error) == (None if fault.blame == Blame.CONFIG else found.reason)


def test_bad_input_is_no_fault_of_the_machine():
    assert machine_fault(InputError("Give a number.")) is None


def test_a_chain_of_causes_with_a_cycle_ends():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert fault_of(first) == Fault("ValueError: first", Blame.CONFIG)


def test_a_fault_survives_pickling():
    fault = fault_of(system(errno.ENOSPC, "/runs/x"))
    assert pickle.loads(pickle.dumps(fault)) == fault
