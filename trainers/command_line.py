"""Report bad input, faults of the machine and interruptions in the same way in all commands."""

import contextlib
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import InputError, first_line
from trainers.faults import machine_fault
from trainers.interruption import FAULT, Interruption, interruptible
from trainers.output import keep_output, show_cursor, tell
from trainers.urls import ENVIRONMENT, shown

if TYPE_CHECKING:  # pyarrow takes a second to import
    from trainers.folder import Folder

SCRIPT = "minbert-tune"
"""The console script."""
LEFT = "interrupted.txt"
"""The file in a run's directory that says why its last command has ended early, and how it is continued."""


PRINTING_SECONDS = 2.0
"""The longest time that a second thread waits for the first one to print the last lines."""


@dataclass(frozen=True)
class Begun:
    """What a command can continue with --resume."""

    folder: "Folder"
    """The directory of the run."""
    rounds: bool
    """Whether a round has finished."""


@contextmanager
def command(
    module: str, *, begun: Callable[[], Begun | None] = lambda: None, extra: tuple[str, ...] = ()
) -> Iterator[None]:
    """Run the body of a command; end it with one sentence if it cannot do its work.

    Bad input ends a command with code 2, a fault of the machine with code 1, a signal with code 130. If --resume can
    continue the command, the lines after the sentence say how; they are also written to LEFT in the run's directory,
    because the terminal may be gone. Output without a reader ends nothing.

    Args:
        module: the module that `python -m MODULE` runs.
        begun: returns what can be continued with --resume, None if there is nothing yet.
        extra: options that the command chose itself, such as a run's name, for the printed command.
    """
    keep_output()
    end = _End(module, begun, extra)
    with interruptible(lambda: end.say(None, state)) as state:
        try:
            yield
        except InputError as error:
            tell(f"Error: {error}")
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            end.say(None, state)
            raise SystemExit(state.code) from None
        except Exception as error:
            fault = machine_fault(error)
            if not fault:
                if not end.continues()[0]:
                    raise
                traceback.print_exc()  # a bug: its traceback is needed, and so is the way to continue
                fault = f"{type(error).__name__}: {first_line(error)}"
            end.say(fault, state)
            raise SystemExit(FAULT) from None


@dataclass
class _End:
    """The lines that say why a command ends early and how it is continued. They are printed once."""

    module: str
    begun: Callable[[], Begun | None]
    extra: tuple[str, ...]
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Taken by the first thread that prints the lines, and never released."""
    printed: threading.Event = field(default_factory=threading.Event)

    def continues(self) -> tuple[bool, Begun | None]:
        """Return whether --resume continues the command, and what it continues, None if that cannot be read."""
        try:
            found = self.begun()
        except (OSError, InputError):
            return True, None
        return found is not None, found

    def say(self, fault: str | None, state: Interruption) -> None:
        """Print the lines, and write them to the run's directory if that is possible.

        Args:
            fault: the fault that ends the command; None for a signal or a loss.
        """
        if not self.turn.acquire(blocking=False):
            self.printed.wait(PRINTING_SECONDS)
            return
        show_cursor()
        continues, found = self.continues()
        fault = fault or state.lost
        lines = [f"Error: {fault.rstrip('.')}." if fault else "Interrupted."]
        if found and found.rounds:
            lines[0] += " Finished rounds are kept."
        if continues:
            lines.append(f"Continue with: {resume_command(self.module, self.extra)}")
        tell("" if fault else "\n", "\n".join(lines), sep="")
        self.printed.set()
        if found:
            with contextlib.suppress(OSError):
                found.folder.write(LEFT, "\n".join(lines) + "\n")


def spelled(module: str) -> list[str]:
    """Return how a command of the project is typed: as a subcommand of the script, if the script runs now."""
    if Path(sys.argv[0]).stem == SCRIPT:
        return [SCRIPT, module.rpartition(".")[2]]
    return ["python", "-m", module]


def command_on(module: str, location: str) -> str:
    """Return the command line that opens the run at a path or URI, quoted for a shell.

    A URI with a secret is replaced by env:NAME, which stands for an environment variable that holds it.
    """
    return shlex.join([*spelled(module), location if location == shown(location) else f"{ENVIRONMENT}NAME"])


def resume_command(module: str, extra: tuple[str, ...]) -> str:
    """Return this process's command line with `extra` options and --resume, and with the secrets of URLs hidden."""
    typed = list(map(shown, sys.argv[1:]))
    command = spelled(module)
    if command[0] == SCRIPT:  # the subcommand is the script's first argument
        typed = typed[1:]
    arguments = [argument for argument in typed if argument != "--resume"]
    return shlex.join([*command, *arguments, *extra, "--resume"])
