import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr

from trainers.evaluation.scores import METRICS, PREDICTIONS, pearson, plain_mean, predictions, score, sigmoid, softmax
from trainers.tasks import TASKS

WIDTHS = {"classification": 5, "binary": 1, "regression": 1}
MODERATE = st.floats(-50, 50, width=32)


def truth(kind, rows, generator):
    """Labels [rows] of a kind: classes, 0 or 1, or values in [0, 5]."""
    if kind == "regression":
        return generator.uniform(0, 5, rows).astype(np.float32)
    return generator.integers(WIDTHS[kind] if kind == "classification" else 2, size=rows).astype(np.float32)


@pytest.mark.parametrize("kind", METRICS)
def test_leading_axes_are_scored_as_one_by_one(kind):
    generator = np.random.default_rng(0)
    outputs = generator.normal(size=(3, 4, 50, WIDTHS[kind])).astype(np.float32)
    labels = truth(kind, 50, generator)
    together = METRICS[kind](predictions(kind, outputs), labels)
    alone = [[METRICS[kind](predictions(kind, one), labels) for one in some] for some in outputs]
    assert together.shape == (3, 4)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", METRICS)
def test_resampled_rows_are_scored_with_their_own_labels(kind):
    generator = np.random.default_rng(5)
    outputs, labels = generator.normal(size=(30, WIDTHS[kind])), truth(kind, 30, generator)
    rows = generator.integers(30, size=(8, 30))
    together = METRICS[kind](outputs[rows], labels[rows])
    np.testing.assert_allclose(together, [METRICS[kind](outputs[some], labels[some]) for some in rows], atol=1e-12)


@pytest.mark.parametrize("kind", METRICS)
def test_the_order_of_rows_is_irrelevant(kind):
    generator = np.random.default_rng(1)
    outputs, labels = generator.normal(size=(60, WIDTHS[kind])), truth(kind, 60, generator)
    order = generator.permutation(60)
    metric, mixed = METRICS[kind](outputs, labels), METRICS[kind](outputs[order], labels[order])
    assert metric == pytest.approx(mixed, abs=1e-12)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_keep_shape_and_order(kind):
    outputs = np.random.default_rng(2).normal(size=(2, 40, WIDTHS[kind])).astype(np.float32)
    averaged = predictions(kind, outputs)
    assert averaged.shape == outputs.shape
    assert averaged.dtype == np.float32
    if WIDTHS[kind] == 1:
        np.testing.assert_array_equal(averaged.argsort(axis=1), outputs.argsort(axis=1))
    else:
        np.testing.assert_array_equal(averaged.argmax(axis=-1), outputs.argmax(axis=-1))


@given(arrays(np.float64, (7, 5), elements=st.floats(-1000, 1000)))
def test_softmax_is_a_distribution_that_ignores_a_shift(logits):
    probabilities = softmax(logits)
    np.testing.assert_allclose(probabilities.sum(-1), 1)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(softmax(logits + 3), probabilities, atol=1e-9)


@given(arrays(np.float64, 9, elements=st.floats(-1e4, 1e4)))
def test_a_logit_is_the_first_of_two_classes_whose_other_logit_is_0(logits):
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(sigmoid(logits), softmax(np.stack([logits, 0 * logits], -1))[:, 0], atol=1e-12)


def test_accuracies_worked_out_by_hand():
    classes = np.array([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]])
    assert METRICS["classification"](classes, np.array([1, 2, 2, 0])) == 0.75
    # A probability of exactly .5 means no: the course rounds half to even.
    assert METRICS["binary"](np.array([[0.5], [0.51], [0.49], [0.9]]), np.array([0, 1, 1, 0])) == 0.5


@given(arrays(np.float64, 30, elements=MODERATE), arrays(np.float64, 30, elements=MODERATE))
def test_pearson_agrees_with_scipy(values, labels):
    if np.ptp(values) < 1e-3 or np.ptp(labels) < 1e-3:
        return
    assert pearson(values[:, None], labels) == pytest.approx(pearsonr(values, labels)[0], abs=1e-9)


def test_pearson_of_float32_values_far_from_zero_keeps_its_digits():
    generator = np.random.default_rng(3)
    values = (1000 + generator.normal(size=20_000)).astype(np.float32)
    labels = (values + generator.normal(size=20_000)).astype(np.float32)
    expected = pearsonr(values.astype(np.float64), labels.astype(np.float64))[0]
    assert pearson(values[:, None], labels) == pytest.approx(expected, abs=1e-12)


@given(st.floats(-1e6, 1e6), st.integers(2, 300))
@example(0.1, 3)  # whose mean is not .1
def test_constant_predictions_have_r_0(value, rows):
    values, labels = np.full((rows, 1), value), np.arange(rows)
    assert pearson(values, labels) == 0
    assert pearson(labels[:, None], values[:, 0]) == 0
    assert pearson(values, values[:, 0]) == 0


@given(
    arrays(np.float64, 40, elements=MODERATE),
    st.floats(0.01, 100),
    st.floats(-100, 100),
)
def test_the_score_ignores_positive_affine_maps_of_values(values, scale, shift):
    if np.ptp(values) < 1e-3:
        return
    labels = np.random.default_rng(4).uniform(0, 5, 40)
    r, mapped = pearson(values[:, None], labels), pearson((scale * values + shift)[:, None], labels)
    found, expected = (score({"sst": 0.5, "qqp": 0.5, "sts": value}, TASKS) for value in (mapped, r))
    assert found == pytest.approx(expected)


def test_the_score_is_the_course_formula():
    # Report 002's best row: .544, .904, .893 are printed as .798.
    metrics = {"sst": 0.544, "qqp": 0.904, "sts": 0.893}
    assert score(metrics, TASKS) == pytest.approx((0.544 + 0.904 + (0.893 + 1) / 2) / 3)
    assert f"{score(metrics, TASKS):.3f}" == "0.798"
    assert plain_mean(metrics) == pytest.approx((0.544 + 0.904 + 0.893) / 3)


def test_scores_of_many_candidates_are_their_scores():
    metrics = {"sst": np.array([0.2, 0.4]), "sts": np.array([-1.0, 1.0])}
    np.testing.assert_allclose(score(metrics, TASKS), [0.1, 0.7])
    np.testing.assert_allclose(plain_mean(metrics), [-0.4, 0.7])


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_perfect_predictions_score_1(task):
    labels = np.linspace(task.low, task.high, int(task.high - task.low) + 1).round()
    perfect = np.eye(task.outputs)[labels.astype(int)] if task.kind == "classification" else labels[:, None]
    assert score({task.name: METRICS[task.kind](perfect, labels)}, TASKS) == pytest.approx(1)
