"""A record of the command line of `search.finish`."""

from dataclasses import dataclass
from typing import Any

from search.session.machines import Machines
from trainers.folder import Folder

TOP, SEEDS = 3, 1
"""The number of configs without --top, and of trainings of each config without --seeds."""


@dataclass(frozen=True)
class Request:
    """The arguments and options of the command line."""

    run: str
    """Name, path or URI of the searched run."""
    storage: str
    name: str
    """Name of the new run."""
    top: int | None
    """The number of configs; None for `TOP`."""
    seeds: int | None
    """The number of trainings of each config; None for `SEEDS`."""
    time_budget: str | None
    """A duration with a unit, such as 90m."""
    settings: dict[str, Any]
    """Option -> its value, None if it was not given. A resumed run must have the given values."""
    machines: Machines
    resume: bool


def new_name(run: str) -> str:
    """Return the name of the new run for a searched run: without --name, --resume finds it although RUN is deleted.

    Args:
        run: name, path or URI of the searched run.

    Raises:
        InputError: no file system supports the URI.
    """
    return f"{Folder.at(run).name}-finish"
