"""Start a command: find this project's packages before anything slow or fragile is imported."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds this project's packages: the checkout, or `site-packages`."""
LOADING = "Loading libraries ..."
"""What a command says before it imports torch, Optuna or pandas, which takes seconds."""


@contextmanager
def started(module: str) -> Iterator[None]:
    """Run the first part of a command: the checks that need no large library, then the imports.

    Args:
        module: the command, as in `python -m MODULE`.
    """
    check_packages(module)
    from trainers.command_line import command  # here, because the check must come before imports of other packages

    with command(module):
        yield


def announce(text: str) -> None:
    """Say at once, also in a pipe, what is about to be done."""
    print(text, flush=True)


def check_packages(module: str) -> None:
    """End the command with exit code 2 if a file of the user hides a package of this project.

    `python -m` searches the current folder first. A `search.py` or `search` folder there hides this file, too: then
    Python itself ends the command with "No module named search.launch". The `minbert-tune` script does not search the
    current folder.
    """
    for package in ("model", "trainers"):
        found = _place(importlib.util.find_spec(package))
        if found and found.parent != ROOT:
            kind, command = "folder" if found.is_dir() else "file", module.rpartition(".")[2]
            print(
                f"Error: The {kind} {found} hides this project's package {package!r}: "
                f"rename the {kind}, start the command in another folder, or start it as `minbert-tune {command}`.",
                file=sys.stderr,
            )
            raise SystemExit(2)


def _place(spec: ModuleSpec | None) -> Path | None:
    """Return the file of a module, or the folder of a package; None if Python finds nothing."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None
