"""Test the conversion of outputs to predictions, and the score over tasks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainers.evaluation.metrics import METRICS, pearson
from trainers.evaluation.scores import PREDICTIONS, plain_mean, predictions, score, sigmoid, softmax
from trainers.tasks import TASKS

WIDTHS = {"classification": 5, "binary": 1, "regression": 1}
MODERATE = st.floats(-50, 50, width=32)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_keep_the_shape_type_and_order_of_outputs(kind):
    outputs = np.random.default_rng(2).normal(size=(2, 40, WIDTHS[kind])).astype(np.float32)
    found = predictions(kind, outputs)
    assert found.shape == outputs.shape
    assert found.dtype == np.float32
    if outputs.shape[-1] == 1:
        np.testing.assert_array_equal(found.argsort(axis=1), outputs.argsort(axis=1))
    else:
        np.testing.assert_array_equal(found.argmax(axis=-1), outputs.argmax(axis=-1))


@given(arrays(np.float64, (7, 5), elements=st.floats(-1000, 1000)))
def test_softmax_returns_probabilities_that_do_not_depend_on_a_shift_of_the_logits(logits):
    probabilities = softmax(logits)
    np.testing.assert_allclose(probabilities.sum(-1), 1)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(softmax(logits + 3), probabilities, atol=1e-9)


@given(arrays(np.float64, 9, elements=st.floats(-1e4, 1e4)))
def test_the_sigmoid_of_a_logit_equals_its_softmax_beside_a_logit_of_0(logits):
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(sigmoid(logits), softmax(np.stack([logits, 0 * logits], -1))[:, 0], atol=1e-12)


@given(
    arrays(np.float64, 40, elements=MODERATE),
    st.floats(0.01, 100),
    st.floats(-100, 100),
)
def test_a_positive_affine_map_of_values_does_not_change_the_score(values, scale, shift):
    if np.ptp(values) < 1e-3:
        return
    labels = np.random.default_rng(4).uniform(0, 5, 40)
    r, mapped = pearson(values[:, None], labels), pearson((scale * values + shift)[:, None], labels)
    found, expected = (score({"sst": 0.5, "qqp": 0.5, "sts": value}, TASKS) for value in (mapped, r))
    assert found == pytest.approx(expected)


def test_the_score_equals_the_overall_score_of_the_course():
    # The best row of report 002: 0.544, 0.904 and 0.893, printed as 0.798.
    metrics = {"sst": 0.544, "qqp": 0.904, "sts": 0.893}
    assert score(metrics, TASKS) == pytest.approx((0.544 + 0.904 + (0.893 + 1) / 2) / 3)
    assert f"{score(metrics, TASKS):.3f}" == "0.798"
    assert plain_mean(metrics) == pytest.approx((0.544 + 0.904 + 0.893) / 3)


def test_many_candidates_are_scored_at_once():
    metrics = {"sst": np.array([0.2, 0.4]), "sts": np.array([-1.0, 1.0])}
    np.testing.assert_allclose(score(metrics, TASKS), [0.1, 0.7])
    np.testing.assert_allclose(plain_mean(metrics), [-0.4, 0.7])


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_perfect_predictions_have_a_score_of_1(task):
    labels = np.linspace(task.low, task.high, int(task.high - task.low) + 1).round()
    perfect = np.eye(task.outputs)[labels.astype(int)] if task.kind == "classification" else labels[:, None]
    assert score({task.name: METRICS[task.metric].compute(perfect, labels)}, TASKS) == pytest.approx(1)


def test_the_metric_of_a_task_and_not_its_kind_decides_the_share_in_the_score():
    tasks = TASKS | {"sts": replace(TASKS["sts"], metric="accuracy")}
    assert score({"sst": 0.25, "sts": 0.5}, tasks) == 0.375
    assert score({"sst": 0.25, "sts": 0.5}, TASKS) == 0.5
