"""Start a command: check that the user has no file with the name of a package of this project, then announce imports.

This file imports the standard library only: the check must come before other packages are imported.
"""

import importlib.util
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds this project's packages: the checkout, or `site-packages`."""
LOADING = "Loading libraries ..."
"""The line that a command prints before it imports torch, Optuna or pandas, which takes seconds."""


@contextmanager
def started(module: str) -> Iterator[None]:
    """Run the first part of a command: the checks that need no large library, then the imports.

    Args:
        module: the command, as in `python -m MODULE`.
    """
    check_packages(module, ["model"])  # `trainers` holds this file
    from trainers.command_line import command  # here, because it imports `model`
    from trainers.cpus import limit_threads  # here, because the check must come first

    limit_threads()
    with command(module):
        yield


def announce(text: str) -> None:
    """Print what the command does next, at once even if the output is a pipe."""
    print(text, flush=True)


def check_packages(module: str, packages: Collection[str]) -> None:
    """End the command with exit code 2 if a file of the user hides a package of this project.

    `python -m` searches the current folder first. The `minbert-tune` script does not search the current folder.

    Args:
        module: the command, as in `python -m MODULE`. If a file hides MODULE's own package, Python itself ends the
            command with "No module named MODULE".
        packages: the other packages that the command imports.
    """
    for package in packages:
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
