"""Test the outputs and metrics of an evaluation, and the choice of the dev rows on which rounds are scored."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.multitask import Multitask
from model.pretrained import Pretrained
from tests.conftest import small_config, small_stage
from trainers.data.batches import inputs
from trainers.data.corpus import Corpus
from trainers.evaluation.evaluate import ROWS, constant_predictions, dev_rows, evaluate, measure
from trainers.evaluation.scores import score
from trainers.tasks import TASKS
from trainers.training.build_model import build

CLOSE = 2e-5
"""Absolute rounding difference between outputs of one row in different batches."""

every_pairs = pytest.mark.parametrize("pairs", ["concatenated", "separate"])
every_task = pytest.mark.parametrize("task", TASKS)


def model_of(pretrained: Pretrained, pairs: str = "concatenated", **dropouts: float) -> Multitask:
    """Return a model of all built-in tasks in training mode."""
    return build(small_config(small_stage(tasks=tuple(TASKS)), pairs=pairs, **dropouts), TASKS, pretrained).train()


def rows_of(corpus: Corpus, count: int) -> dict[str, np.ndarray]:
    """Return `count` row numbers of each task's dev split, repeated if the split is smaller."""
    return {task: np.arange(count) % len(corpus.splits[task]["dev"]) for task in TASKS}


@every_pairs
def test_the_outputs_of_a_row_do_not_depend_on_the_other_rows(corpus, pretrained, pairs):
    model, rows = model_of(pretrained, pairs), rows_of(corpus, ROWS + 7)
    outputs = evaluate(model, corpus, "dev", rows)
    order = np.random.default_rng(0).permutation(ROWS + 7)
    mixed = evaluate(model, corpus, "dev", {task: numbers[order] for task, numbers in rows.items()})
    for task, values in outputs.items():
        assert values.shape == (ROWS + 7, TASKS[task].outputs) and values.dtype == np.float32
        np.testing.assert_allclose(mixed[task], values[order], atol=CLOSE)
        assert np.ptp(values, axis=0).max() > 100 * CLOSE, "all rows have the same outputs, so the test proves nothing"
        alone = evaluate(model, corpus, "dev", {task: rows[task][-1:]})[task]
        np.testing.assert_allclose(alone, values[-1:], atol=CLOSE)


def test_evaluation_uses_no_dropout_draws_no_random_number_and_leaves_the_model_unchanged(corpus, pretrained):
    model, rows, state = model_of(pretrained, dropout=0.5), rows_of(corpus, 9), torch.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, again = (evaluate(model, corpus, "dev", rows) for _ in range(2))
    assert all(np.array_equal(first[task], again[task]) for task in TASKS)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    evaluate(model.eval(), corpus, "dev", rows)
    assert not model.training


@every_pairs
def test_evaluation_and_a_training_pass_without_dropout_give_the_same_outputs(corpus, pretrained, pairs):
    model = model_of(pretrained, pairs, dropout=0, attention_dropout=0, head_dropout=0)
    rows = {"sts": np.arange(12)}
    batch = inputs(corpus, "train", rows, model.encodings, pretrained.config.positions)
    trained = model(model.embed(batch.tokens), batch)["sts"].detach().numpy()
    np.testing.assert_allclose(evaluate(model, corpus, "train", rows)["sts"], trained, atol=CLOSE)


@every_task
def test_the_metric_of_outputs_that_equal_the_labels_is_1(corpus, task):
    rows = {task: np.array([5, 3, 8, 1, 0])}
    labels = corpus.splits[task]["dev"].labels[rows[task]]
    perfect = {
        "classification": 9 * np.equal.outer(labels, np.arange(5)),
        "binary": 9 * (2 * labels[:, None] - 1),
        "regression": labels[:, None],
    }[TASKS[task].kind]
    assert measure(corpus, "dev", rows, {task: perfect}) == {task: pytest.approx(1)}


def test_the_score_of_floats_equals_the_score_of_arrays():
    metrics = {"sst": 0.5, "qqp": 0.75, "sts": -0.5}
    many = {name: np.array([value]) for name, value in metrics.items()}
    assert score(metrics, TASKS) == score(many, TASKS)[0] == 0.5


def without_labels(corpus: Corpus, task: str, rows: list[int]) -> Corpus:
    """Return the corpus with only one task, some of whose dev rows have no label."""
    split = corpus.splits[task]["dev"]
    labels = split.labels.copy()
    labels[rows] = np.nan
    return replace(corpus, splits={task: {**corpus.splits[task], "dev": replace(split, labels=labels)}})


@every_task
def test_the_scored_dev_rows_are_labelled_always_the_same_and_stratified_by_label(corpus, task):
    part = without_labels(corpus, task, [0, 3, 9])
    labels = part.splits[task]["dev"].labels
    whole = dev_rows(part, task, 10_000)
    assert whole.tolist() == [row for row in range(len(labels)) if row not in (0, 3, 9)]
    for limit in (len(whole), len(whole) - 1, 60, 25, 1):
        rows = dev_rows(part, task, limit)
        assert len(rows) == limit and len(set(rows.tolist())) == limit
        assert np.isfinite(labels[rows]).all()
        assert np.array_equal(rows, np.sort(rows))
        assert np.array_equal(rows, dev_rows(part, task, limit))
        for label in np.unique(labels[whole].round()):
            expected = limit * (labels[whole].round() == label).mean()
            assert abs((labels[rows].round() == label).sum() - expected) <= 1.5


@pytest.mark.parametrize(
    ("task", "outputs", "expected"),
    [
        ("sst", [[0, 0, 1, 0, 0], [-3, 0, 2, 1, 1]], 2.0),
        ("sst", [[0, 0, 1, 0, 0], [-3, 0, 2, 3, 1]], None),
        ("qqp", [[-1], [-30], [-0.1]], 0.0),
        ("qqp", [[1], [30]], 1.0),
        ("qqp", [[-1], [0.1]], None),
        ("sts", [[2.5], [2.501], [2.5]], 2.5),
        ("sts", [[2.5], [2.6]], None),
        ("sst", [[0, 0, 1, 0, 0]], None),
    ],
)
def test_predictions_are_constant_if_all_rows_have_one_class_or_value(task, outputs, expected):
    found = constant_predictions(TASKS, {task: np.array(outputs, np.float32)})
    assert found == ({} if expected is None else {task: pytest.approx(expected, abs=1e-3)})
