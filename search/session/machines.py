"""A record of the machines that a command line requests."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Machines:
    """The machines on which trials are to run."""

    address: str | None
    """The address of a Ray cluster; None to use this machine only."""
    concurrency: int | None
    """Number of trials that train at the same time; None for as many as fit."""
    cpus: float
    """CPUs of each trial."""
    gpus: float | None
    """GPUs of each trial; None for 1 if there is a GPU, else 0."""
