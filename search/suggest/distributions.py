"""Map the values of a numerical Optuna distribution to positions from 0 to 1 and back."""

import math

from optuna.distributions import FloatDistribution, IntDistribution

NumericDistribution = FloatDistribution | IntDistribution


def unit_position(distribution: NumericDistribution, value: float) -> float:
    """Return the position of a value, 0 to 1, between the ends of a distribution; logarithmic if `log` is set."""
    low, high = _ends(distribution)
    return ((math.log(value) if distribution.log else value) - low) / (high - low)


def value_at_position(distribution: NumericDistribution, position: float) -> float | int:
    """Return the value at a position from 0 to 1; all values of a distribution with steps have equal shares."""
    low, high = _ends(distribution)
    value = low + position * (high - low)
    return nearest_value(distribution, math.exp(value) if distribution.log else value)


def nearest_value(distribution: NumericDistribution, value: float) -> float | int:
    """Return the value of a distribution that is nearest to a number."""
    if distribution.step:
        value = distribution.low + distribution.step * round((value - distribution.low) / distribution.step)
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value


def _ends(distribution: NumericDistribution) -> tuple[float, float]:
    half = (distribution.step or 0) / 2  # widened, so that the first and the last step are as likely as the others
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)
