"""Test metrics of predictions against values calculated by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from search.report.dev_predictions import DevPredictions
from search.report.prediction_metrics import (
    adjacent_share,
    class_metrics,
    confusion_matrix,
    regression_metrics,
    worst_and_best,
)

LABELS = [0, 0, 1, 1, 1, 2, 2, 3]
PREDICTED = [0, 1, 1, 3, 1, 1, 0, 2]


def predictions(labels, values, confidence=None) -> DevPredictions:
    rows = np.arange(len(labels))
    sure = np.full(len(labels), np.nan) if confidence is None else np.array(confidence)
    return DevPredictions("a model", rows, np.array(labels, float), np.array(values, float), sure)


def test_rows_are_counted_by_true_class_then_by_predicted_class():
    counts = confusion_matrix(predictions(LABELS, PREDICTED), 0, 3)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]]


def test_classes_need_not_start_at_0():
    assert confusion_matrix(predictions([1, 2, 2], [1, 1, 2]), 1, 2).tolist() == [[1, 0], [1, 1]]
    assert [found.label for found in class_metrics(np.eye(2, dtype=int), 1)] == [1, 2]


def test_precision_recall_and_f1_equal_those_calculated_by_hand():
    found = class_metrics(confusion_matrix(predictions(LABELS, PREDICTED), 0, 3), 0)[1]
    assert (found.support, found.precision, found.recall) == (3, 2 / 4, 2 / 3)
    assert found.f1 == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))


@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_class_metrics_equal_those_of_scikit_learn(rows):
    labels, predicted = zip(*rows, strict=True)
    classes = list(range(5))
    counts = confusion_matrix(predictions(labels, predicted), 0, 4)
    assert np.array_equal(counts, metrics.confusion_matrix(labels, predicted, labels=classes))
    expected = metrics.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=np.nan)  # pyright: ignore[reportArgumentType]: its stub only allows 0 and 1
    found = [(one.precision, one.recall, one.f1, one.support) for one in class_metrics(counts, 0)]
    assert np.allclose(np.array(found).T, np.array(expected), equal_nan=True)


def test_the_adjacent_share_is_a_share_of_the_errors_only():
    # Errors: 0 as 1, 1 as 3, 2 as 1, 2 as 0, 3 as 2: three of five are off by one.
    assert adjacent_share(confusion_matrix(predictions(LABELS, PREDICTED), 0, 3)) == 3 / 5
    assert math.isnan(adjacent_share(np.diag([3, 1, 2])))


def test_an_error_is_the_value_minus_the_label():
    found = regression_metrics(predictions([0, 2, 4], [1, 2, 2]))
    assert found.mean == pytest.approx(-1 / 3)
    assert found.deviation == pytest.approx(np.std([1, 0, -2]))
    assert found.largest == -2
    assert found.r == pytest.approx(np.corrcoef([0, 2, 4], [1, 2, 2])[0, 1])


def test_constant_values_have_correlation_0():
    assert regression_metrics(predictions([0, 2, 4], [1, 1, 1])).r == 0


def test_the_most_probable_wrong_class_is_the_worst_and_the_most_probable_right_class_the_best():
    model = predictions([0, 0, 1, 1, 1], [0, 1, 0, 1, 1], [0.9, 0.6, 0.8, 0.7, 0.95])
    worst, best = worst_and_best(model, regression=False, worst=5, best=2)
    assert worst.tolist() == [2, 1]
    assert best.tolist() == [4, 0]


def test_the_value_farthest_above_or_below_its_label_is_the_worst():
    worst, best = worst_and_best(predictions([0, 1, 2, 3], [0.5, 1, 4, 0]), regression=True, worst=2, best=1)
    assert worst.tolist() == [3, 2]
    assert best.tolist() == [1]


def test_a_model_without_errors_has_no_worst_row():
    for regression in (False, True):
        worst, best = worst_and_best(predictions([0, 1], [0, 1], [0.6, 0.7]), regression=regression, worst=6, best=4)
        assert len(worst) == 0
        assert sorted(best.tolist()) == [0, 1]


def test_no_row_is_both_most_wrong_and_most_right():
    worst, best = worst_and_best(predictions([0, 1, 2], [1, 3, 2.5]), regression=True, worst=2, best=4)
    assert worst.tolist() == [1, 0]
    assert best.tolist() == [2]
