"""Values of a numerical Optuna distribution, and their places on a line from 0 to 1."""

import math

from optuna.distributions import FloatDistribution, IntDistribution

NumericDistribution = FloatDistribution | IntDistribution


def unit_position(kind: NumericDistribution, value: float) -> float:
    """Return where a value of a distribution lies between its ends; on a log scale, if it has one."""
    low, high = _ends(kind)
    return ((math.log(value) if kind.log else value) - low) / (high - low)


def value_at_position(kind: NumericDistribution, place: float) -> float | int:
    """Return the value of a distribution at a place from 0 to 1; each value of a grid has its share of the line."""
    low, high = _ends(kind)
    value = low + place * (high - low)
    return nearest_value(kind, math.exp(value) if kind.log else value)


def nearest_value(kind: NumericDistribution, value: float) -> float | int:
    """Return the value of a distribution that is nearest to a number."""
    if kind.step:
        value = kind.low + kind.step * round((value - kind.low) / kind.step)
    value = min(max(value, kind.low), kind.high)
    return int(value) if isinstance(kind, IntDistribution) else value


def _ends(kind: NumericDistribution) -> tuple[float, float]:
    half = (kind.step or 0) / 2  # the outer values of a grid are as likely as the inner ones
    low, high = kind.low - half, kind.high + half
    return (math.log(low), math.log(high)) if kind.log else (low, high)
