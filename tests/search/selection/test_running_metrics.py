"""Test that metrics from running sums equal the metrics of the mean predictions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.selection.running_metrics import RUNNING_METRICS, RunningMean, RunningPearson, running_metric
from search.selection.strategies import forward_selection
from tests.search.libraries import TASK_OF_KIND, example_library
from trainers.evaluation.metrics import METRICS

KINDS = tuple(TASK_OF_KIND)


@pytest.mark.parametrize("form", [running_metric, RunningMean])
@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), grid=st.sampled_from([8, 2**20]))
@settings(max_examples=20, deadline=None)
def test_every_running_form_gives_the_metrics_of_the_means(form, kind, seed, grid):
    exact = example_library(kind, candidates=6, rows=40, seed=seed)
    # Multiples of 1/8 produce exact ties.
    library = replace(exact, predictions=(exact.predictions * grid).round() / grid)
    running, added = form(library.task.metric, library.predictions, library.labels), []
    for candidate in np.random.default_rng(seed).integers(6, size=8):
        added.append(candidate)
        running.add(int(candidate))
        means = (library.predictions[added].sum(axis=0, dtype=np.float64) + library.predictions) / (len(added) + 1)
        expected = library.metric(means.astype(np.float32))
        metrics = running.with_each()
        if isinstance(running, RunningPearson):  # equal up to a factor common to all candidates
            np.testing.assert_allclose(metrics * np.abs(expected).max(), expected * np.abs(metrics).max(), atol=1e-5)
        else:
            np.testing.assert_allclose(metrics, expected, atol=1e-12)


def test_the_sum_of_opposite_values_has_an_r_of_zero():
    values = np.random.default_rng(0).normal(size=(1, 30, 1)).astype(np.float32)
    running = RunningPearson(np.concatenate([values, -values]), np.arange(30, dtype=np.float32))
    running.add(0)
    assert running.with_each()[1] == 0


def test_only_known_metrics_have_a_fast_running_form():
    assert RUNNING_METRICS.keys() <= METRICS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_forward_selection_without_the_fast_form_selects_an_equally_good_ensemble(kind, monkeypatch):
    library = example_library(kind, candidates=15, rows=80)
    fast = forward_selection(library, np.arange(15))
    monkeypatch.delitem(RUNNING_METRICS, library.task.metric)
    slow = forward_selection(library, np.arange(15))
    metrics = [library.metric(np.tensordot(weights, library.predictions, 1)) for weights in (fast, slow)]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-6)
