"""Population-based training: who is replaced at a round, and with which parameters a clone goes on. Pure."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from optuna.distributions import BaseDistribution

from model.errors import InputError
from search.distributions import Numeric, nearest, value_at
from trainers.seeds import generator

POPULATION = "population"
"""The name of the trial scheduler."""
SHARE = 0.2
"""Of a round's trials, how many at the bottom are replaced by clones of as many at the top."""
SMALLEST = 4
"""Trials that a round must have seen before one is replaced."""
FACTORS = (0.8, 1.25)
RESAMPLED = 0.25
"""Probability that a parameter is drawn anew, and not multiplied."""


def check_size(trials: int) -> None:
    """Refuse a population in which nobody would ever be replaced.

    Raises:
        InputError: it has too few trials.
    """
    if trials < SMALLEST:
        raise InputError(
            f"--trials {trials}: a population of fewer than {SMALLEST} replaces nobody. Pass {SMALLEST} or more, or "
            "--trial-scheduler none."
        )


def donors(scores: Mapping[int, float], number: int) -> list[int]:
    """Return the trials of which one replaces a trial after a round, the best first; none, and it goes on.

    Args:
        scores: trial -> score of all that have finished the round; higher is better.
        number: the trial; it is among them.

    Source: Jaderberg et al. 2017 (Population Based Training), section 4.1: truncation selection.
    """
    if len(scores) < SMALLEST:
        return []
    count = max(1, math.floor(SHARE * len(scores)))
    ranked = sorted(scores, key=lambda trial: (-scores[trial], trial))
    if number not in ranked[-count:]:
        return []
    return [trial for trial in ranked[:count] if scores[trial] > scores[number]]


def drawn(candidates: list[int], seed: int, number: int, round: int) -> int:
    """Draw the donor of a trial's clone."""
    return candidates[int(torch.randint(len(candidates), (), generator=generator(seed, number, round, "donor")))]


def explored(
    params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], seed: int, number: int, round: int
) -> dict[str, Any]:
    """Return other values of the numerical parameters, within their distributions; choices stay as they are.

    Each is multiplied by one of the factors, or now and then drawn anew; 0 stays 0, unless it is drawn.

    Args:
        number: the trial that a clone replaces; with the seed, the round and a parameter's name it decides the draw.

    Source: Jaderberg et al. 2017 (Population Based Training), section 4.1: perturb and resample.
    """
    found = {}
    for name, distribution in distributions.items():
        if isinstance(distribution, Numeric):
            anew, which, place = torch.rand(
                3, generator=generator(seed, number, round, name), dtype=torch.float64
            ).tolist()
            factor = FACTORS[int(which * len(FACTORS))]
            moved = nearest(distribution, _moved(distribution, params[name], factor))
            found[name] = value_at(distribution, place) if anew < RESAMPLED else moved
    return found


def _moved(distribution: Numeric, value: float, factor: float) -> float:
    """Multiply a value; by less than a step it would stay for ever, so it goes one step."""
    moved = value * factor
    if distribution.step and 0 < abs(moved - value) < distribution.step:
        return value + math.copysign(distribution.step, moved - value)
    return moved
