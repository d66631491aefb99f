"""Describe the failure of a trial as text, which survives the way from a worker to the driver; write it down."""

import contextlib
import traceback
from datetime import UTC, datetime

from model.errors import InputError
from trainers.faults import Blame, Fault, MachineError, fault_of
from trainers.folder import Folder
from trainers.trial import ERROR


class TrialFailed(Exception):
    """A trial has raised an error, or has lost its worker."""

    def __init__(self, reason: str, blame: str, text: str):
        """Describe the failure.

        Args:
            reason: one line.
            blame: the value of a `Blame`.
            text: the traceback, or the whole message.
        """
        super().__init__(reason, blame, text)
        self.fault, self.text = Fault(reason, Blame(blame)), text


def refused(error: InputError) -> TrialFailed:
    """Describe the error of a space that gives no usable config."""
    return TrialFailed(str(error), Blame.CONFIG, _traceback(error))


def described(error: BaseException, place: str = "") -> TrialFailed:
    """Describe an error where it was raised; a write that failed says where, if the system did not."""
    fault = fault_of(error)
    unnamed = fault.blame == Blame.MACHINE and "/" not in fault.reason
    reason = f"{fault.reason}: {place}" if place and unnamed else fault.reason
    return TrialFailed(reason, fault.blame, _traceback(error))


def failure_of(error: BaseException) -> TrialFailed:
    """Return the failure that Ray reports to the driver: what the worker has described, or the loss of the worker."""
    cause = getattr(error, "cause", error)
    return cause if isinstance(cause, TrialFailed) else described(error)


def write_log(folder: Folder, failure: TrialFailed, round: int) -> None:
    """Write a failure into the log of its trial, in place of the failure before it, if the log can be written.

    Args:
        round: the trial's last finished round, 0 if there is none.
    """
    head = f"{datetime.now(UTC).isoformat(timespec='seconds')}, after round {round}: {failure.fault.reason}"
    with contextlib.suppress(OSError):
        folder.write(ERROR, f"{head}\n\n{failure.text.strip()}\n".encode(errors="backslashreplace"))


def failure_line(folder: Folder, reason: str, what_follows: str = "") -> str:
    """Return the reason of a trial's failure, what follows, and the path of the log if it could be written.

    Args:
        folder: the trial's directory.
    """
    log = f"see {folder / ERROR}" if folder.exists(ERROR) else ""
    return "; ".join(filter(None, (reason.rstrip("."), what_follows, log)))


def lasting_fault(folder: Folder, number: int, reason: str) -> MachineError:
    """Return the error that ends a search because a trial fails each time on account of the machine.

    Args:
        folder: the trial's directory.
        number: the trial's number.
        reason: the last failure.
    """
    line = failure_line(folder, reason)
    return MachineError(f"Trial {number} could not be trained because of repeated faults of the machine: {line}.")


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
