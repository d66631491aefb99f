"""Test every metric with every kind of task that it can measure, and each metric against scipy or scikit-learn."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score

from trainers.evaluation.metrics import METRICS, accuracy, pearson, predicted_classes
from trainers.evaluation.scores import predictions
from trainers.tasks import KIND_METRICS, TASKS, Kind, default_metric

WIDTHS: dict[Kind, int] = {"classification": 5, "binary": 1, "regression": 1}
MODERATE = st.floats(-50, 50, width=32)
CASES = [(metric, kind) for kind, metrics in KIND_METRICS.items() for metric in metrics]

every_case = pytest.mark.parametrize(("metric", "kind"), CASES)


def generated_labels(kind, rows, generator):
    """Return labels [rows] of a kind: classes, 0 or 1, or values in [0, 5]."""
    if kind == "regression":
        return generator.uniform(0, 5, rows).astype(np.float32)
    return generator.integers(WIDTHS[kind] if kind == "classification" else 2, size=rows).astype(np.float32)


def generated(kind, shape, seed):
    """Return predictions [*shape, width] and labels [rows] of a kind; `shape` ends with the number of rows."""
    generator = np.random.default_rng(seed)
    outputs = generator.normal(size=(*shape, WIDTHS[kind])).astype(np.float32)
    return predictions(kind, outputs), generated_labels(kind, shape[-1], generator)


def perfect(kind, labels):
    """Return the predictions [rows, width] that equal the labels [rows]."""
    return np.eye(WIDTHS[kind])[labels.astype(int)] if kind == "classification" else labels[:, None]


def test_every_metric_measures_some_kind_and_every_kind_has_metrics():
    assert {metric for metric, _ in CASES} == set(METRICS)
    assert set(KIND_METRICS) == set(get_args(Kind))
    assert all(KIND_METRICS.values())


def test_metrics_have_distinct_titles():
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_built_in_task_has_the_default_metric_of_its_kind(task):
    assert task.metric == default_metric(task.kind)


@every_case
def test_predictions_with_leading_axes_are_measured_as_if_they_came_alone(metric, kind):
    found, labels = generated(kind, (3, 4, 50), 0)
    together = METRICS[metric].compute(found, labels)
    alone = [[METRICS[metric].compute(one, labels) for one in some] for some in found]
    assert together.shape == (3, 4)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)


@every_case
def test_labels_with_leading_axes_are_compared_with_their_own_predictions(metric, kind):
    found, labels = generated(kind, (30,), 5)
    rows = np.random.default_rng(5).integers(30, size=(8, 30))
    together = METRICS[metric].compute(found[rows], labels[rows])
    alone = [METRICS[metric].compute(found[some], labels[some]) for some in rows]
    np.testing.assert_allclose(together, alone, atol=1e-12)


@every_case
def test_the_order_of_rows_is_irrelevant(metric, kind):
    found, labels = generated(kind, (60,), 1)
    order = np.random.default_rng(1).permutation(60)
    mixed = METRICS[metric].compute(found[order], labels[order])
    assert METRICS[metric].compute(found, labels) == pytest.approx(mixed, abs=1e-12)


@every_case
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 30))
def test_the_share_is_between_0_and_1(metric, kind, seed, rows):
    found, labels = generated(kind, (6, rows), seed)
    shares = METRICS[metric].share(METRICS[metric].compute(found, labels))
    assert shares.shape == (6,)
    assert ((shares >= -1e-12) & (shares <= 1 + 1e-12)).all()


@every_case
def test_the_share_keeps_the_order_of_metrics(metric, kind):
    found, labels = generated(kind, (50, 20), 2)
    metrics = METRICS[metric].compute(found, labels)
    np.testing.assert_array_equal(np.diff(METRICS[metric].share(np.sort(metrics))) > 0, np.diff(np.sort(metrics)) > 0)


@every_case
def test_perfect_predictions_have_the_metric_1_and_the_share_1(metric, kind):
    labels = generated_labels(kind, 40, np.random.default_rng(3))
    reached = METRICS[metric].compute(perfect(kind, labels), labels)
    assert reached == pytest.approx(1)
    assert METRICS[metric].share(reached) == pytest.approx(1)


@every_case
def test_constant_predictions_and_constant_labels_have_a_finite_metric(metric, kind):
    found, labels = generated(kind, (20,), 4)
    constant, equal = np.repeat(found[:1], 20, axis=0), np.repeat(labels[:1], 20)
    with np.errstate(all="raise"):
        for some, truth in ((constant, labels), (found, equal), (constant, equal)):
            reached = METRICS[metric].share(METRICS[metric].compute(some, truth))
            assert 0 <= reached <= 1


def test_the_accuracy_of_classes_equals_a_hand_computed_value():
    found = np.array([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]])
    assert accuracy(found, np.array([1, 2, 2, 0])) == 0.75


def test_the_accuracy_of_probabilities_of_class_1_equals_a_hand_computed_value():
    # A probability of exactly 0.5 means class 0: the course rounds half to even.
    assert accuracy(np.array([[0.5], [0.51], [0.49], [0.9]]), np.array([0, 1, 1, 0])) == 0.5


@pytest.mark.parametrize("kind", ["classification", "binary"])
def test_accuracy_agrees_with_scikit_learn(kind):
    found, labels = generated(kind, (200,), 6)
    assert accuracy(found, labels) == pytest.approx(accuracy_score(labels, predicted_classes(found)), abs=1e-12)


@given(arrays(np.float64, 30, elements=MODERATE), arrays(np.float64, 30, elements=MODERATE))
def test_pearson_agrees_with_scipy(values, labels):
    if np.ptp(values) < 1e-3 or np.ptp(labels) < 1e-3:
        return
    assert pearson(values[:, None], labels) == pytest.approx(pearsonr(values, labels)[0], abs=1e-9)


def test_pearson_of_float32_values_far_from_zero_is_as_exact_as_in_float64():
    generator = np.random.default_rng(3)
    values = (1000 + generator.normal(size=20_000)).astype(np.float32)
    labels = (values + generator.normal(size=20_000)).astype(np.float32)
    expected = pearsonr(values.astype(np.float64), labels.astype(np.float64))[0]
    assert pearson(values[:, None], labels) == pytest.approx(expected, abs=1e-12)


@given(st.floats(-1e6, 1e6), st.integers(2, 300))
@example(0.1, 3)  # the mean of these values is not 0.1
def test_pearson_is_exactly_0_if_predictions_or_labels_are_constant(value, rows):
    values, labels = np.full((rows, 1), value), np.arange(rows)
    assert pearson(values, labels) == 0
    assert pearson(labels[:, None], values[:, 0]) == 0
    assert pearson(values, values[:, 0]) == 0
