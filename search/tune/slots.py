"""Decide how many trials run at once, and the resources of each, from the resources of the nodes."""

import math
from dataclasses import dataclass

from model.errors import InputError

LEAST_USED = 0.95
"""The least part of a GPU that its trials must use: 3 trials of 0.33 do, 3 trials of 0.3 do not."""
LEAST_SHARE = 0.01
"""The smallest share of a GPU that a trial may have."""
ROUNDING = 1e-9
"""Added before rounding down: in floating point 1/(1/49) may be less than 49."""


@dataclass(frozen=True)
class Slots:
    """The number of trials that run at once, and the CPUs and GPUs of each."""

    count: int
    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        """The device of a trial's model, as torch names it."""
        return "cuda" if self.gpus else "cpu"

    @property
    def threads(self) -> int:
        """Threads of a trial: one per CPU, at least one."""
        return max(1, int(self.cpus))

    @property
    def memory(self) -> float | None:
        """The share of its GPU's memory that a trial may use; None for all of it, or without a GPU."""
        return self.gpus if 0 < self.gpus < 1 else None


def choose_slots(nodes: list[dict[str, float]], concurrency: int | None, cpus: float, gpus: float | None) -> Slots:
    """Return the slots for trials on the nodes.

    Args:
        nodes: the resources of each node, "CPU" and "GPU".
        concurrency: trials at once; None for as many as fit.
        cpus: CPUs of one trial.
        gpus: GPUs of one trial: 0, 1, or 1/k, which may be rounded down; None for 1 if any node has a GPU.

    Raises:
        InputError: a trial fits on no node, fewer trials fit than `concurrency`, or a trial could not use all that it
            is given.
    """
    _check_cpus(cpus)
    gpus = _one_or_share(gpus) if gpus is not None else float(any(node.get("GPU", 0) for node in nodes))
    fitting = sum(_fitting(node, cpus, gpus) for node in nodes)
    if not fitting:
        largest = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)))
        raise InputError(
            f"A trial of {cpus:g} CPUs and {gpus:g} GPUs fits on no node; the largest has "
            f"{largest.get('CPU', 0):g} CPUs and {largest.get('GPU', 0):g} GPUs. "
            "Lower --cpus-per-trial or --gpus-per-trial."
        )
    if concurrency and concurrency > fitting:
        raise InputError(
            f"--concurrency {concurrency}: only {fitting} trials of {cpus:g} CPUs and {gpus:g} GPUs fit at once. "
            "Lower it, or --cpus-per-trial or --gpus-per-trial."
        )
    return Slots(concurrency or fitting, cpus, gpus)


def _check_cpus(cpus: float) -> None:
    """Check that a trial has whole CPUs, one per thread, or a share of one CPU."""
    if not cpus > 0:  # NaN, which not every release of click refuses
        raise InputError(f"--cpus-per-trial {cpus:g} is no positive number. Pass 1 or more, or a share such as 0.5.")
    if 1 < cpus < math.inf and cpus % 1:
        raise InputError(
            f"--cpus-per-trial {cpus:g}: a trial has one thread per CPU, so a part of a CPU would stay unused. "
            f"Pass {int(cpus)} or {int(cpus) + 1}, or a share of one CPU such as 0.5."
        )


def _one_or_share(gpus: float) -> float:
    """Check that a trial has no GPU, one, or 1/k of one; return the unrounded number."""
    if not gpus >= 0:  # NaN
        raise InputError(f"--gpus-per-trial {gpus:g} is no number. Pass 0, 1 or a share of one GPU such as 0.5.")
    if gpus > 1:
        raise InputError(
            f"--gpus-per-trial {gpus:g}: a trial trains on one GPU, so the others would stay unused. "
            "Pass 1, or a share of one GPU such as 0.5, 0.33 or 0.25."
        )
    if 0 < gpus < LEAST_SHARE:
        raise InputError(f"--gpus-per-trial {gpus:g}: the smallest share of a GPU is {LEAST_SHARE}. Pass a larger one.")
    if gpus in (0, 1):
        return gpus
    neighbours = math.floor(1 / gpus + ROUNDING)
    if neighbours * gpus < LEAST_USED:
        raise InputError(
            f"--gpus-per-trial {gpus:g}: as many trials as fit would leave a part of each GPU unused. "
            f"Pass {1 / neighbours:.2g}, or {1 / (neighbours + 1):.2g} for one more trial per GPU."
        )
    return 1 / neighbours


def _fitting(node: dict[str, float], cpus: float, gpus: float) -> int:
    fits = [math.floor(node.get("CPU", 0) / cpus)]
    if gpus:
        fits.append(math.floor(node.get("GPU", 0) / gpus + ROUNDING))
    return min(fits)
