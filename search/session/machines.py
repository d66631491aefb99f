"""What a command was asked to train on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machines:
    """The machines that the command line asks for."""

    address: str | None
    """Of a Ray cluster; None for this machine alone."""
    concurrency: int | None
    """Trials at once; None for as many as fit."""
    cpus: float
    """Of each trial."""
    gpus: float | None
    """Of each trial; None for 1 where there is a GPU, else 0."""
