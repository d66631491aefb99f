"""End a command on a signal: in order on the first one, at once on a second Ctrl-C, and never later than a grace time.

This file imports the standard library only: it is loaded before all other files of a command.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

GRACE_SECONDS = 20.0
"""The longest time from the first signal to the end of the process: Ray closes in seconds, or not at all."""
LOST_GRACE_SECONDS = 5.0
"""The same after a loss: then there may be nothing left that could be closed."""
INTERRUPTED = 130
"""Exit code of a command that a signal has ended."""
FAULT = 1
"""Exit code of a command that a fault of the machine has ended."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a command."""
IMPORT = "<frozen importlib._bootstrap>"
"""The file name of Python's import system."""


@dataclass
class Interruption:
    """What a command has received. Signals belong to the whole process, in which one command runs at a time."""

    last_words: Callable[[], None]
    """Prints how the command ends and how it is continued."""
    received: bool = False
    deferred: bool = False
    """Whether a signal is only noted, until `leave_if_received` is called."""
    lost: str | None = None
    """A sentence about the loss that ends the command in place of a signal."""

    @property
    def code(self) -> int:
        """The exit code of the command."""
        return FAULT if self.lost else INTERRUPTED

    def leave(self) -> None:
        """End the process at once."""
        try:
            self.last_words()
        finally:
            os._exit(self.code)


_running: list[Interruption] = []
"""The record of the command that runs now, if one does."""


def leave_quietly() -> None:
    """Let a signal end this process at once and without a traceback, while no command has begun."""
    for number in _ending():
        signal.signal(number, lambda number, frame: Interruption(_say_interrupted).leave())


@contextmanager
def interruptible(last_words: Callable[[], None]) -> Iterator[Interruption]:
    """Raise KeyboardInterrupt in the block on the first signal; end the process if the block does not end in time.

    A thread reads the signals, too: the main thread may be blocked inside a library.

    Args:
        last_words: prints how the command ends; called only if the block cannot end by itself.
    """
    before = {number: signal.getsignal(number) for number in _ending()}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    state = Interruption(last_words)
    _running.append(state)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(reader, state), daemon=True)
    thread.start()
    try:
        catch_signals()
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        _running.remove(state)
        os.close(writer)  # ends the thread
        thread.join()
        os.close(reader)


def catch_signals() -> None:
    """Install the handlers of the running command again: a library may have installed its own."""
    for number in _ending():
        signal.signal(number, _interrupt)


@contextmanager
def deferred() -> Iterator[None]:
    """Only note a signal in the block, until `leave_if_received` is called: a library may swallow an exception."""
    for state in _running:
        state.deferred = True
    try:
        yield
    finally:
        for state in _running:
            state.deferred = False


def leave_if_received() -> None:
    """Raise KeyboardInterrupt if a signal has been received."""
    if any(state.received for state in _running):
        raise KeyboardInterrupt


def lose(sentence: str) -> None:
    """End the running command as a signal does, but with a sentence about a loss and exit code 1; from any thread."""
    for state in _running:
        state.lost = state.lost or sentence
        os.kill(os.getpid(), signal.SIGTERM)


def _ending() -> list[signal.Signals]:
    """List the signals that end a command; SIGHUP stays ignored under `nohup`."""
    return [number for number in ENDING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt on the first signal; leave at once if an import would swallow the exception."""
    for state in _running:
        first, state.received = not state.received, True
        if first and not state.deferred:
            if _is_importing(frame):
                state.leave()
            raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame and frame.f_code.co_filename != IMPORT:
        frame = frame.f_back
    return frame is not None


def _watch(reader: int, state: Interruption) -> None:
    """End the process on a second Ctrl-C, or when the grace time after the first signal is over."""
    deadline = None
    while True:
        ready, _, _ = select.select([reader], [], [], deadline and max(0.0, deadline - time.monotonic()))
        numbers = os.read(reader, 64) if ready else b""
        if ready and not numbers:
            return  # the command has ended
        if not ready:
            state.leave()
        for number in filter(ENDING.__contains__, numbers):
            if deadline and number == signal.SIGINT:
                state.leave()
            grace = LOST_GRACE_SECONDS if state.lost else GRACE_SECONDS
            deadline = min(deadline or float("inf"), time.monotonic() + grace)


def _say_interrupted() -> None:
    if sys.stderr:  # None if it was closed
        with contextlib.suppress(OSError):
            print("\nInterrupted.", file=sys.stderr, flush=True)
