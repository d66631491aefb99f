"""Values of numerical distributions and their places on a line."""

import numpy as np
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from search.suggest.distributions import NumericDistribution, nearest_value, unit_position, value_at_position
from search.suggest.optuna_internals import contains

KINDS = [
    FloatDistribution(0, 1),
    FloatDistribution(1e-5, 10, log=True),
    FloatDistribution(-1, 1, step=0.25),
    IntDistribution(1, 7),
    IntDistribution(4, 64, log=True),
    IntDistribution(0, 100, step=20),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_value_has_a_place_between_0_and_1_and_is_the_value_there(kind: NumericDistribution):
    for place in np.linspace(0, 1, 41):
        value = value_at_position(kind, float(place))
        assert contains(kind, value) and nearest_value(kind, value) == pytest.approx(value)
        back = unit_position(kind, value)
        assert 0 <= back <= 1 and value_at_position(kind, back) == pytest.approx(value)
        if not kind.step:
            assert back == pytest.approx(place)


def test_each_value_of_a_grid_has_its_share_of_the_line():
    drawn = [value_at_position(IntDistribution(1, 4), place) for place in (0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 1)]
    assert drawn == [1, 1, 2, 2, 3, 3, 4, 4] and all(isinstance(value, int) for value in drawn)


def test_a_number_outside_becomes_the_nearest_value():
    assert nearest_value(FloatDistribution(0, 1), 3.0) == 1
    assert nearest_value(FloatDistribution(-1, 1, step=0.25), 0.3) == 0.25
    assert nearest_value(IntDistribution(4, 64, log=True), 1.0) == 4
