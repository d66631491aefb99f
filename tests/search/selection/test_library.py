"""Test the losses that break ties between candidates, and a library with another metric."""

from dataclasses import replace

import numpy as np
import pytest

from search.selection.bootstrap import bootstrap
from search.selection.cross_fitting import FOLDS, cross_fit, make_folds
from search.selection.library import LOSSES, tasks_of
from search.selection.strategies import STRATEGIES
from tests.search.libraries import example_library
from trainers.evaluation.metrics import METRICS, Metric
from trainers.evaluation.scores import score


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_of_perfect_predictions_is_0_and_that_of_wrong_predictions_is_finite(kind):
    labels = np.array([0, 1, 1, 0], np.float32)
    right = np.eye(2)[labels.astype(int)] if kind == "classification" else labels[:, None]
    np.testing.assert_allclose(LOSSES[kind](right, labels), 0, atol=1e-6)
    assert (LOSSES[kind](1 - right, labels) > 0).all()
    assert (LOSSES[kind](1 - right, labels) < 100).all()


@pytest.mark.parametrize("strategy", ["caruana", "greedy", "single"])
def test_a_metric_needs_an_entry_in_the_registry_only(strategy, monkeypatch):
    def closeness(predictions, labels):
        return 1 / (1 + np.abs(predictions[..., 0] - labels).mean(axis=-1))

    monkeypatch.setitem(METRICS, "closeness", Metric("closeness", closeness, share=lambda metric: metric))
    library = example_library("regression", candidates=8, rows=60)
    library = replace(library, task=replace(library.task, metric="closeness"))
    np.testing.assert_allclose(library.metrics, [closeness(found, library.labels) for found in library.predictions])
    selection = STRATEGIES[strategy](library, np.random.default_rng(0))
    reached = library.metric(selection.combine(library.predictions))
    assert reached >= library.metrics.max() - 1e-6
    assert score({"sts": reached}, tasks_of({"sts": library})) == reached
    assert 0 < cross_fit(STRATEGIES[strategy], make_folds([library] * FOLDS, 0), 0).metric(library) <= 1
    assert bootstrap("closeness", library.predictions[0], library.labels, 0).std() > 0
