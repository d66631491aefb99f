"""Resources of machines -> how many trials run at once, and on what."""

import math
from dataclasses import dataclass

from model.errors import InputError

EVEN = 0.95
"""0.33 three times is a whole GPU, 0.3 is not."""
ROUNDING = 1e-9
"""1/(1/49) may be less than 49."""


@dataclass(frozen=True)
class Slots:
    """How many trials run at once, and on what."""

    count: int
    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        """Where a trial's model lives."""
        return "cuda" if self.gpus else "cpu"

    @property
    def threads(self) -> int:
        """Threads of a trial: the CPUs that it was given, at least one."""
        return max(1, int(self.cpus))

    @property
    def memory(self) -> float | None:
        """The share of a GPU's memory that is a trial's; None for all of it, or without a GPU."""
        return self.gpus if 0 < self.gpus < 1 else None


def choose_slots(nodes: list[dict[str, float]], concurrency: int | None, cpus: float, gpus: float | None) -> Slots:
    """Fit trials onto nodes.

    Args:
        nodes: resources of each, "CPU" and "GPU".
        concurrency: trials at once; None for as many as fit.
        cpus, gpus: of a trial; None GPUs for one if a node has any, below one a k-th, which may be rounded down.

    Raises:
        InputError: a trial fits on no node, or not as many as asked for, or GPUs cannot be parted like that.
    """
    gpus = _even(gpus) if gpus is not None else float(any(node.get("GPU", 0) for node in nodes))
    room = sum(_room(node, cpus, gpus) for node in nodes)
    if not room:
        largest = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)))
        raise InputError(
            f"A trial of {cpus:g} CPUs and {gpus:g} GPUs fits on no node; the largest has "
            f"{largest.get('CPU', 0):g} CPUs and {largest.get('GPU', 0):g} GPUs. "
            "Lower --cpus-per-trial or --gpus-per-trial."
        )
    if concurrency and concurrency > room:
        raise InputError(
            f"--concurrency {concurrency}: only {room} trials of {cpus:g} CPUs and {gpus:g} GPUs fit at once. "
            "Lower it, or --cpus-per-trial or --gpus-per-trial."
        )
    return Slots(concurrency or room, cpus, gpus)


def _even(gpus: float) -> float:
    """Check that a trial has whole GPUs or a k-th of one; return it unrounded."""
    if gpus >= 1 and gpus % 1:
        raise InputError(
            f"--gpus-per-trial {gpus:g}: trials have whole GPUs, or share one. "
            f"Pass {int(gpus)} or {int(gpus) + 1}, or a share such as 0.5, 0.33 or 0.25."
        )
    if gpus >= 1 or not gpus:
        return gpus
    neighbours = math.floor(1 / gpus + ROUNDING)
    if neighbours * gpus < EVEN:
        raise InputError(
            f"--gpus-per-trial {gpus:g}: as many trials as fit would leave a part of the GPU to nobody. "
            f"Pass {1 / neighbours:.2g}, or {1 / (neighbours + 1):.2g} for one more."
        )
    return 1 / neighbours


def _room(node: dict[str, float], cpus: float, gpus: float) -> int:
    fits = [math.floor(node.get("CPU", 0) / cpus)]
    if gpus:
        fits.append(math.floor(node.get("GPU", 0) / gpus + ROUNDING))
    return min(fits)
