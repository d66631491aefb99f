"""Early stopping: who goes on at a rung. Pure; its only state is the trials' rows."""

import math
from collections.abc import Callable, Sequence

import numpy as np

ETA = 4
"""Of the trials at a rung one in so many goes on."""

Values = tuple[float, ...]
"""What a round is worth, a value per objective; of each, more is better."""


class Halving:
    """What each rung holds, in the order of arrival, and who of it goes on.

    Source: Li et al. 2020 (A System for Massively Parallel Hyperparameter Tuning), ASHA with stopping.
    """

    def __init__(self, rounds: int, bracket: Callable[[int, int], int]):
        """Start with empty rungs.

        Args:
            rounds: of a trial that is never stopped.
            bracket: a value of `BRACKETS`.
        """
        self.rounds, self.bracket = rounds, bracket
        self.rungs: dict[tuple[int, int], dict[int, Values]] = {}

    def enter(self, number: int, judged: int, values: Values) -> None:
        """Note a round of a trial; one that is told again counts as it did the first time."""
        bracket = self.bracket(number, self.rounds)
        if judged in rungs(self.rounds, bracket):
            self.rungs.setdefault((bracket, judged), {}).setdefault(number, values)

    def goes_on(self, number: int, judged: int) -> bool:
        """Tell whether a trial goes on after a round, by what its rung held when it arrived there."""
        rung = self.rungs.get((self.bracket(number, self.rounds), judged), {})
        if number not in rung:
            return True
        return goes_on(list(rung.values())[: list(rung).index(number) + 1])


def rungs(rounds: int, bracket: int = 0) -> tuple[int, ...]:
    """Return the judged rounds after which a trial may be stopped: powers of ETA below the last.

    Args:
        bracket: the lowest power; each bracket stops later than the one before.
    """
    found, rung = [], ETA**bracket
    while rung < rounds:
        found.append(rung)
        rung *= ETA
    return tuple(found)


def goes_on(seen: Sequence[Values]) -> bool:
    """Tell whether the trial that arrived last goes on past a rung.

    Those go on who have fewer than len / ETA, rounded up, ahead of them: the first one, and always the best. Ahead is
    who is dominated by fewer: with one objective, who has a higher value.

    Args:
        seen: what the rung holds, the trial's own values last.

    Source: for several objectives, the rank of Fonseca and Fleming 1993 (section 3).
    """
    ranks = dominated(np.array(seen))
    return int((ranks < ranks[-1]).sum()) < math.ceil(len(seen) / ETA)


def dominated(values: np.ndarray) -> np.ndarray:
    """Count for each row of `values` [trials, objectives] the rows that are nowhere worse and somewhere better."""
    if values.shape[1] == 1:  # sorted, not compared in pairs: a rung of thousands is asked thousands of times
        return len(values) - np.searchsorted(np.sort(values[:, 0]), values[:, 0], side="right")
    better = np.zeros((len(values), len(values)), bool)
    worse = better.copy()
    for column in values.T:
        better |= column[:, None] > column
        worse |= column[:, None] < column
    return (better & ~worse).sum(axis=0)


def asha(number: int, rounds: int) -> int:
    """Put every trial into the bracket that stops earliest."""
    return 0


def hyperband(number: int, rounds: int) -> int:
    """Deal trials to all brackets, so that each trains about equally long.

    Source: Li et al. 2018 (Hyperband), algorithm 1: bracket s starts ceil(count / (s + 1) * eta ** s) trials, which
    may be stopped s times.
    """
    stops = len(rungs(rounds))
    shares = [math.ceil((stops + 1) / (s + 1) * ETA**s) for s in range(stops, -1, -1)]
    # In turn: the k-th trial of a bracket comes at the (k + 1/2) / share-th part of a deal.
    deal = sorted((part, bracket) for bracket, share in enumerate(shares) for part in _middles(share))
    return deal[number % len(deal)][1]


def _middles(count: int) -> list[float]:
    return [(place + 0.5) / count for place in range(count)]


BRACKETS: dict[str, Callable[[int, int], int]] = {"asha": asha, "hyperband": hyperband}
"""By name of the trial scheduler: (number of a trial, judged rounds of a trial) -> its bracket."""
