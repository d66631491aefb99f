"""Report bad input and interruptions in the same way in all commands."""

import contextlib
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from model.errors import InputError

SCRIPT = "minbert-tune"
"""The console script."""


@contextlib.contextmanager
def command(
    module: str, *, resumable: Callable[[], bool] = lambda: False, extra: tuple[str, ...] = ()
) -> Iterator[None]:
    """Run the body of a command. Bad input prints one sentence and exits with code 2, an interruption with code 130.

    Args:
        module: the module that `python -m MODULE` runs.
        resumable: returns whether the command can continue with --resume; then an interruption prints that command.
        extra: options that the command chose itself, such as a run's name, for the printed command.
    """
    catch_signals()
    try:
        yield
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        if resumable():
            print("\nInterrupted. Finished rounds are kept.", file=sys.stderr)
            print(f"Continue with: {resume_command(module, extra)}", file=sys.stderr)
        else:
            print("\nInterrupted.", file=sys.stderr)
        raise SystemExit(130) from None


def catch_signals() -> None:
    """Raise KeyboardInterrupt in the main thread on the first SIGINT or SIGTERM; ignore later signals."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)


def spelled(module: str) -> list[str]:
    """Return how a command of the project is typed: as a subcommand of the script, if the script runs now."""
    if Path(sys.argv[0]).stem == SCRIPT:
        return [SCRIPT, module.rpartition(".")[2]]
    return ["python", "-m", module]


def resume_command(module: str, extra: tuple[str, ...]) -> str:
    """Return this process's command line with `extra` options and --resume, and with passwords in URLs hidden."""
    typed = [re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", argument) for argument in sys.argv[1:]]
    command = spelled(module)
    if command[0] == SCRIPT:  # the subcommand is the script's first argument
        typed = typed[1:]
    arguments = [argument for argument in typed if argument != "--resume"]
    return shlex.join([*command, *arguments, *extra, "--resume"])


def _interrupt(number: int, frame: object) -> NoReturn:
    for later in (signal.SIGINT, signal.SIGTERM):  # a second signal must not interrupt the clean-up
        signal.signal(later, signal.SIG_IGN)
    raise KeyboardInterrupt
