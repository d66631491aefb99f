"""Start a command of `search`: check that the user has no file with the name of a package of this project."""

import runpy
from contextlib import AbstractContextManager
from pathlib import Path

START = Path(__file__).resolve().parents[1] / "trainers" / "start.py"


def started(module: str) -> AbstractContextManager[None]:
    """Run the first part of a command; see `trainers.start`.

    Args:
        module: the command, as in `python -m MODULE`.
    """
    # The file is run by its path: an import could load a folder `trainers` of the user before the check finds it.
    runpy.run_path(str(START))["check_packages"](module, ["model", "trainers"])
    from trainers import start  # here, because the check must come first

    return start.started(module)
