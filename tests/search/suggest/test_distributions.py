"""Test the map between values of numerical distributions and positions from 0 to 1."""

import numpy as np
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from search.suggest.distributions import NumericDistribution, nearest_value, unit_position, value_at_position
from search.suggest.optuna_internals import contains

DISTRIBUTIONS = [
    FloatDistribution(0, 1),
    FloatDistribution(1e-5, 10, log=True),
    FloatDistribution(-1, 1, step=0.25),
    IntDistribution(1, 7),
    IntDistribution(4, 64, log=True),
    IntDistribution(0, 100, step=20),
]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
def test_each_value_has_a_position_from_0_to_1_that_maps_back_to_the_value(distribution: NumericDistribution):
    for place in np.linspace(0, 1, 41):
        value = value_at_position(distribution, float(place))
        assert contains(distribution, value) and nearest_value(distribution, value) == pytest.approx(value)
        back = unit_position(distribution, value)
        assert 0 <= back <= 1 and value_at_position(distribution, back) == pytest.approx(value)
        if not distribution.step:
            assert back == pytest.approx(place)


def test_all_values_of_an_integer_range_have_equal_shares_of_the_positions():
    drawn = [value_at_position(IntDistribution(1, 4), place) for place in (0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 1)]
    assert drawn == [1, 1, 2, 2, 3, 3, 4, 4] and all(isinstance(value, int) for value in drawn)


def test_a_number_outside_the_range_becomes_the_nearest_value():
    assert nearest_value(FloatDistribution(0, 1), 3.0) == 1
    assert nearest_value(FloatDistribution(-1, 1, step=0.25), 0.3) == 0.25
    assert nearest_value(IntDistribution(4, 64, log=True), 1.0) == 4
