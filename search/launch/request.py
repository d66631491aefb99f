"""A record of what a search was asked for."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import unknown
from search.session.machines import Machines


@dataclass(frozen=True)
class Request:
    """What the command line of a search says."""

    space: Path
    storage: str
    name: str | None
    """Of the run; None for the name of the space and the time."""
    settings: dict[str, Any]
    """What a resumed run must agree with; None for what was left open."""
    machines: Machines
    trials: int
    time_budget: str | None
    """A duration with its unit."""
    stop_at: float | None
    plateau: int | None
    gpu_hours: float | None
    resume: bool
    dashboard: bool


def known(what: str, name: str | None, names: Collection[str]) -> str | None:
    """Return the name that an option was given, None if it was not.

    Raises:
        InputError: it is not one of the `names`.
    """
    if name is not None and name not in names:
        raise unknown(what, name, names)
    return name
