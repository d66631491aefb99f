"""Successive halving: decide whether a trial continues at a rung. Pure; the state is in the trials' rows."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from search.runs.pareto import domination_counts

ETA = 4
"""At the end of training one of `ETA` trials would continue, at the beginning all of them: see `kept_share`."""
CYCLE = 24
"""Rounds that each bracket trains, on average, before the assignment of trials to brackets repeats."""
SPACING = 2
"""Each rung is this many times as late as the rung before it."""

Values = tuple[float, ...]
"""The values of a round, one per objective; higher is better in each."""


class Halving:
    """The rungs of a search, each with its trials in the order of their arrival.

    Source: Li et al. 2020 (A System for Massively Parallel Hyperparameter Tuning), ASHA with stopping. Other than
    there, the share of the trials that continue falls from rung to rung: see `kept_share`.
    """

    def __init__(self, rounds: int, bracket: Callable[[int, int], int]):
        """Start with empty rungs.

        Args:
            rounds: judged rounds of a trial that is never stopped.
            bracket: a value of `BRACKETS`.
        """
        self.rounds, self.bracket = rounds, bracket
        self.rungs: dict[tuple[int, int], dict[int, Values]] = {}
        """(bracket, judged round) -> trial -> values."""

    def enter(self, number: int, judged: int, values: Values) -> None:
        """Record a trial's values after a judged round; of repeated reports the first counts."""
        bracket = self.bracket(number, self.rounds)
        if judged in rungs(self.rounds, bracket):
            self.rungs.setdefault((bracket, judged), {}).setdefault(number, values)

    def continues(self, number: int, judged: int) -> bool:
        """Return whether a trial continues after a judged round, given the trials that reached the rung before it."""
        rung = self.rungs.get((self.bracket(number, self.rounds), judged), {})
        if number not in rung:
            return True
        seen = list(rung.values())[: list(rung).index(number) + 1]
        return last_continues(seen, kept_share(judged, self.rounds))


def rungs(rounds: int, bracket: int = 0) -> tuple[int, ...]:
    """Return the judged rounds after which a trial may be stopped: powers of SPACING below the last round.

    Args:
        bracket: the exponent of the first rung; so each bracket stops trials later than the one before.
    """
    found, rung = [], SPACING**bracket
    while rung < rounds:
        found.append(rung)
        rung *= SPACING
    return tuple(found)


def kept_share(judged: int, rounds: int) -> float:
    """Return the share of the trials at a rung that continue: two thirds after a sixth of the training, then fewer.

    Early scores say little about final ones: among the good configs of a space, those with a low learning rate begin
    slowly and end best.
    """
    return 1 / (1 + (ETA - 1) * judged / rounds)


def last_continues(seen: Sequence[Values], share: float) -> bool:
    """Return whether the trial that reached a rung last continues.

    A trial continues if fewer than ceil(share * len) trials rank above it; so the first arrival and the best always
    continue. With one objective a higher value ranks above; with several, being dominated by fewer trials.

    Args:
        seen: the values of all trials at the rung; those of the trial itself are last.
        share: the share of the trials that continue.

    Source: for several objectives, the rank of Fonseca and Fleming 1993 (section 3).
    """
    ranks = domination_counts(np.array(seen))
    return int((ranks < ranks[-1]).sum()) < math.ceil(share * len(seen))


def asha(number: int, rounds: int) -> int:
    """Assign every trial to the bracket with the earliest rung."""
    return 0


def hyperband(number: int, rounds: int) -> int:
    """Assign trials to all brackets, such that all brackets get about the same training time.

    Source: Li et al. 2018 (Hyperband), section 3.2.
    """
    brackets = range(len(rungs(rounds)) + 1)
    shares = [round(CYCLE / expected_rounds(rounds, bracket)) or 1 for bracket in brackets]
    # Spread evenly: the k-th of a bracket's trials lies at (k + 1/2) / share of one cycle.
    cycle = sorted((place, bracket) for bracket, share in enumerate(shares) for place in _even_places(share))
    return cycle[number % len(cycle)][1]


def expected_rounds(rounds: int, bracket: int) -> float:
    """Return the mean number of rounds that a bracket's trials train, if at each rung the kept share continues."""
    total, share, before = 0.0, 1.0, 0
    for rung in rungs(rounds, bracket):
        total += share * (rung - before)
        share, before = share * kept_share(rung, rounds), rung
    return total + share * (rounds - before)


def _even_places(count: int) -> list[float]:
    return [(index + 0.5) / count for index in range(count)]


BRACKETS: dict[str, Callable[[int, int], int]] = {"asha": asha, "hyperband": hyperband}
"""Name of the trial scheduler -> function (number of a trial, judged rounds of a trial) -> bracket."""
