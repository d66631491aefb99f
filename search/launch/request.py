"""A record of a search's command line, and a check of the names in it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import unknown
from search.session.machines import Machines

TRIALS = 12
"""Number of trials without --trials and --time-budget; of a population, without --trials."""


@dataclass(frozen=True)
class Request:
    """The arguments and options of the command line of a search."""

    space: Path
    storage: str
    name: str | None
    """The name of the run; None to derive it from the name of the space and the time."""
    settings: dict[str, Any]
    """Option -> its value, None if it was not given. A resumed run must have the given values."""
    machines: Machines
    trials: int | None
    """The number of trials; None for `TRIALS` or, with a time budget, for no limit."""
    time_budget: str | None
    """A duration with a unit, such as 90m."""
    stop_at: float | None
    plateau: int | None
    gpu_hours: float | None
    resume: bool
    dashboard: bool


def checked_name(what: str, name: str | None, names: Collection[str]) -> str | None:
    """Return the name that was given for an option, or None if the option was not given.

    Args:
        what: the kind of the name, for the error message.
        names: the names that the option accepts.

    Raises:
        InputError: the option accepts no such name.
    """
    if name is not None and name not in names:
        raise unknown(what, name, names)
    return name
