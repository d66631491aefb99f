"""Start a command of `search`: check that the user has no file with the name of a package of this project."""

import runpy
from contextlib import AbstractContextManager
from pathlib import Path

TRAINERS = Path(__file__).resolve().parents[1] / "trainers"
# Files of `trainers` are run by their path: an import could load a folder `trainers` of the user before the check
# finds it.


def leave_quietly() -> None:
    """Let Ctrl-C end the process without a traceback while the first libraries are imported."""
    runpy.run_path(str(TRAINERS / "interruption.py"))["leave_quietly"]()


def started(module: str) -> AbstractContextManager[None]:
    """Run the first part of a command; see `trainers.start`.

    Args:
        module: the command, as in `python -m MODULE`.
    """
    runpy.run_path(str(TRAINERS / "start.py"))["check_packages"](module, ["model", "trainers"])
    from trainers import start  # here, because the check must come first

    return start.started(module)
