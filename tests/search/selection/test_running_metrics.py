"""Test that metrics from running sums equal the metrics of the mean predictions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.selection.library import Library
from search.selection.running_metrics import RUNNING_METRICS
from tests.search.libraries import example_library
from trainers.evaluation.scores import METRICS

KINDS = tuple(METRICS)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), grid=st.sampled_from([8, 2**20]))
@settings(max_examples=20, deadline=None)
def test_running_sums_give_the_metrics_of_the_means(kind, seed, grid):
    exact = example_library(kind, candidates=6, rows=40, seed=seed)
    # Multiples of 1/8 produce exact ties.
    library = Library(kind, (exact.predictions * grid).round() / grid, exact.labels)
    running, added = RUNNING_METRICS[kind](library.predictions, library.labels), []
    for candidate in np.random.default_rng(seed).integers(6, size=8):
        added.append(candidate)
        running.add(int(candidate))
        means = (library.predictions[added].sum(axis=0, dtype=np.float64) + library.predictions) / (len(added) + 1)
        expected = library.metric(means.astype(np.float32))
        metrics = running.with_each()
        if kind == "regression":  # equal up to a factor common to all candidates
            np.testing.assert_allclose(metrics * np.abs(expected).max(), expected * np.abs(metrics).max(), atol=1e-5)
        else:
            np.testing.assert_allclose(metrics, expected, atol=1e-12)


def test_the_sum_of_opposite_values_has_an_r_of_zero():
    values = np.random.default_rng(0).normal(size=(1, 30, 1)).astype(np.float32)
    running = RUNNING_METRICS["regression"](np.concatenate([values, -values]), np.arange(30, dtype=np.float32))
    running.add(0)
    assert running.with_each()[1] == 0
