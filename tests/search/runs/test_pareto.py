"""Test Pareto dominance against its definition and against Optuna."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from optuna.study._multi_objective import _is_pareto_front

from search.runs.pareto import domination_counts, pareto_front

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)
TRIPLES = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), max_size=25)


@given(st.integers(1, 3), TRIPLES)
def test_the_front_consists_of_the_rows_that_no_other_row_dominates(columns, rows):
    values = np.array(rows, float).reshape(len(rows), 3)[:, :columns]
    front = {tuple(row) for row in values[pareto_front(values)]}
    dominated = {tuple(b) for a, b in itertools.product(values, repeat=2) if (a >= b).all() and (a > b).any()}
    assert front == {tuple(row) for row in values} - dominated
    assert pareto_front(values).sum() == len(front), "only one of several equal rows is on the front"


@given(st.integers(1, 3), TRIPLES)
def test_the_domination_count_is_the_number_of_dominating_rows(columns, rows):
    values = np.array(rows, float).reshape(len(rows), 3)[:, :columns]
    expected = [sum(bool((a >= b).all() and (a > b).any()) for a in values) for b in values]
    assert domination_counts(values).tolist() == expected


@given(PAIRS)
def test_the_first_of_several_equal_rows_is_on_the_front(pairs):
    values = np.array(pairs)
    rows = values.tolist()
    assert all(rows.index(rows[index]) == index for index in np.flatnonzero(pareto_front(values)))


@given(PAIRS)
def test_the_rows_with_a_domination_count_of_zero_are_the_front_that_optuna_finds(pairs):
    values = np.array(pairs)
    front = _is_pareto_front(-values.astype(float), assume_unique_lexsorted=False)
    assert ((domination_counts(values) == 0) == front).all()
