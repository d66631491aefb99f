"""Population-based training: who is replaced, and what a clone tries, worked out by hand and for any population."""

from typing import Any

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.population import RESAMPLED, SHARE, donors, drawn, explored

SCORES = st.dictionaries(st.integers(0, 99), st.sampled_from([0.1, 0.2, 0.3, 0.4]) | st.floats(0, 1), max_size=30)
TEN = {number: number / 10 for number in range(10)}


def test_the_two_worst_of_ten_are_replaced_by_the_two_best():
    assert {number: donors(TEN, number) for number in TEN if donors(TEN, number)} == {0: [9, 8], 1: [9, 8]}


def test_of_four_the_worst_is_replaced_by_the_best_and_of_three_nobody():
    scores = {7: 0.5, 3: 0.1, 9: 0.4, 1: 0.7}
    assert [donors(scores, number) for number in scores] == [[], [1], [], []]
    del scores[9]
    assert not any(donors(scores, number) for number in scores)


def test_where_all_are_equal_nobody_is_replaced():
    scores = dict.fromkeys(range(10), 0.5)
    assert not any(donors(scores, number) for number in scores)


@given(SCORES)
def test_a_fifth_at_most_is_replaced_and_never_by_one_that_is_not_better(scores):
    replaced = {number: found for number in scores if (found := donors(scores, number))}
    assert len(replaced) <= max(1, SHARE * len(scores))
    assert not replaced.keys() & {donor for found in replaced.values() for donor in found}
    for number, found in replaced.items():
        assert all(scores[donor] > scores[number] for donor in found)
        worse = sum(score < scores[number] for score in scores.values())
        assert worse < max(1, SHARE * len(scores))


def test_every_donor_is_drawn_and_by_place():
    found = [drawn([4, 5, 6], 0, number, 2) for number in range(60)]
    assert set(found) == {4, 5, 6}
    assert found == [drawn([4, 5, 6], 0, number, 2) for number in range(60)]
    assert found != [drawn([4, 5, 6], 1, number, 2) for number in range(60)]


NUMBERS: dict[str, tuple[BaseDistribution, Any]] = {
    "log": (FloatDistribution(1e-5, 1e-2, log=True), 1e-3),
    "linear": (FloatDistribution(0, 0.5), 0.2),
    "stepped": (FloatDistribution(0, 1, step=0.25), 0.5),
    "integer": (IntDistribution(1, 9), 2),
    "even": (IntDistribution(2, 10, step=4), 6),
    "sizes": (IntDistribution(1, 64, log=True), 16),
    "choice": (CategoricalDistribution([8, 16]), 8),
}
PARAMS = {name: value for name, (_, value) in NUMBERS.items()}
DISTRIBUTIONS = {name: distribution for name, (distribution, _) in NUMBERS.items()}


def many(params: dict[str, Any], count: int = 400) -> dict[str, list[Any]]:
    found = [explored(params, DISTRIBUTIONS, 0, number, 1) for number in range(count)]
    return {name: [values[name] for values in found] for name in found[0]}


def test_a_number_is_mostly_multiplied_by_a_factor_and_now_and_then_drawn_anew():
    found = many(PARAMS)
    assert set(found) == NUMBERS.keys() - {"choice"}
    for name in ("log", "linear"):
        near = [sum(value == PARAMS[name] * factor for value in found[name]) for factor in (0.8, 1.25)]
        assert all(abs(count / 400 - (1 - RESAMPLED) / 2) < 0.07 for count in near)
    assert {0.25, 0.75} <= set(found["stepped"]) <= {0, 0.25, 0.5, 0.75, 1}
    often = {name: {value for value in values if values.count(value) > 100} for name, values in found.items()}
    assert (often["integer"], often["sizes"]) == ({1, 3}, {13, 20}), "an integer moves, if only by one"
    assert set(found["integer"]) <= set(range(1, 10)) and set(found["even"]) == {2, 6, 10}
    assert all(isinstance(value, int) for name in ("integer", "even", "sizes") for value in found[name])


@settings(max_examples=30)
@given(st.data(), st.integers(0, 10**6))
def test_what_is_explored_stays_within_its_distribution_and_on_its_steps(data, number):
    sampler = optuna.samplers.RandomSampler(seed=number)
    study = optuna.create_study(sampler=sampler)
    params = study.ask(DISTRIBUTIONS).params
    for name, value in explored(params, DISTRIBUTIONS, 3, number, 2).items():
        distribution = DISTRIBUTIONS[name]
        assert distribution._contains(distribution.to_internal_repr(value)), (name, value)


def test_the_ends_of_a_distribution_hold():
    ends = {name: getattr(distribution, "high", 8) for name, distribution in DISTRIBUTIONS.items()}
    found = many(ends)
    assert all(max(values) == ends[name] for name, values in found.items())


def test_nothing_stays_nothing_unless_it_is_drawn_anew():
    found = many(PARAMS | {"linear": 0.0, "stepped": 0.0})
    for name in ("linear", "stepped"):
        assert 1 - RESAMPLED - 0.07 < found[name].count(0) / 400 < 1 - RESAMPLED + 0.15


def test_values_drawn_anew_fill_a_logarithmic_range_evenly():
    distribution = {"x": FloatDistribution(1e-4, 1e4, log=True)}
    found = [explored({"x": 1.0}, distribution, 0, number, 1)["x"] for number in range(400)]
    anew = [value for value in found if value not in (0.8, 1.25)]
    assert 0.35 < sum(value < 1 for value in anew) / len(anew) < 0.65
    assert 0.3 < sum(1e-2 < value < 1e2 for value in anew) / len(anew) < 0.7


def test_draws_differ_by_round_and_name_and_are_the_same_by_place():
    both = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    found = [explored({"x": 0.5, "y": 0.5}, both, 0, 0, round) for round in range(1, 30)]
    assert found == [explored({"x": 0.5, "y": 0.5}, both, 0, 0, round) for round in range(1, 30)]
    assert any(values["x"] != values["y"] for values in found) and len({values["x"] for values in found}) > 2
