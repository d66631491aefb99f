"""Early stopping: who goes on at a rung. Pure; its only state is the trials' rows."""

import math
from collections.abc import Sequence

ETA = 3


def rungs(rounds: int, eta: int = ETA) -> tuple[int, ...]:
    """Return the judged rounds after which a trial may be stopped: 1, eta, eta ** 2 ... below the last.

    Source: Li et al. 2020 (A System for Massively Parallel Hyperparameter Tuning), ASHA with stopping.
    """
    found, rung = [], 1
    while rung < rounds:
        found.append(rung)
        rung *= eta
    return tuple(found)


def goes_on(seen: Sequence[float], score: float, eta: int = ETA) -> bool:
    """Tell whether a trial goes on past a rung.

    While a rung holds fewer than eta scores every trial goes on; then those with fewer than len / eta, rounded up,
    ahead of them.

    Args:
        seen: the scores that the rung holds, this one included.
        score: the trial's score; higher is better.
    """
    if len(seen) < eta:
        return True
    ahead = sum(other > score for other in seen)
    return ahead < math.ceil(len(seen) / eta)
