"""What every command line shares: how bad input and interruptions are told."""

import contextlib
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from model.errors import InputError


@contextlib.contextmanager
def command(
    module: str, *, resumable: Callable[[], bool] = lambda: False, extra: tuple[str, ...] = ()
) -> Iterator[None]:
    """Run the body of a command: bad input is one sentence and exit code 2, an interruption exit code 130.

    Args:
        module: as in `python -m MODULE`.
        resumable: () -> whether the same command with --resume would go on after an interruption; then it is printed.
        extra: options whose values were chosen at the start, such as a run's name; the printed command needs them.
    """
    catch_signals()
    try:
        yield
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        if resumable():
            print("\nInterrupted; finished rounds are kept.", file=sys.stderr)
            print(f"Go on with: {resume_command(module, extra)}", file=sys.stderr)
        else:
            print("\nInterrupted.", file=sys.stderr)
        raise SystemExit(130) from None


def catch_signals() -> None:
    """Make the first SIGINT or SIGTERM a KeyboardInterrupt in the main thread."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)


def resume_command(module: str, extra: tuple[str, ...]) -> str:
    """Return the command line that was typed, with `extra` options and --resume, and without passwords in URLs."""
    typed = [re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", argument) for argument in sys.argv[1:]]
    arguments = [argument for argument in typed if argument != "--resume"]
    return shlex.join(["python", "-m", module, *arguments, *extra, "--resume"])


def _interrupt(number: int, frame: object) -> NoReturn:
    for later in (signal.SIGINT, signal.SIGTERM):  # a second signal must not break what ends the program in order
        signal.signal(later, signal.SIG_IGN)
    raise KeyboardInterrupt
