"""Test the training loop: round results, settings without effect, models that are not finite, resumed runs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import InputError
from tests.conftest import small_config, small_stage
from tests.trainers.small_models import HIGH_DROPOUT
from tests.trainers.small_training import TASKS, Trainer, comparable, same, weights_of
from trainers.config.train_config import Stage
from trainers.evaluation.evaluate import evaluate
from trainers.folder import Folder
from trainers.methods.smart import SmartConfig
from trainers.training.training import Training

SMOOTH = SmartConfig(lambda_s=1.0)
BREGMAN = {"mu": 1.0, "early_beta": 0.75, "beta": 0.5}


@pytest.fixture(scope="module")
def trainer(corpus, pretrained) -> Trainer:
    return Trainer(corpus, pretrained)


# Round results.


def test_round_results_have_the_counts_of_the_plan(trainer):
    config = small_config(small_stage(tasks=("qqp",), rounds=1), small_stage(rounds=3, batch_schedule="cycle", steps=7))
    training = trainer(config, dev_limit=15)
    results = list(training)
    assert [result.round for result in results] == [1, 2, 3, 4]
    assert [result.judged for result in results] == [None, 1, 2, 3]
    assert [result.score is None for result in results] == [True, False, False, False]
    assert [result.last for result in results] == [False, False, False, True]
    assert [result.examples for result in results] == [round.examples for round in training.rounds]
    assert results[-1].steps == len(training.plan) == 13
    assert all(result.finite for result in results)
    assert set(results[0].losses) == {"qqp.loss"} and set(results[1].losses) == {f"{task}.loss" for task in TASKS}
    assert [set(result.metrics) for result in results] == [{"qqp"}, set(TASKS), set(TASKS), set(TASKS)]
    shapes = {"sst": (15, 5), "qqp": (15, 1), "sts": (15, 1)}
    for result in results:
        assert result.loss == pytest.approx(sum(value for value in result.losses.values() if value))
        assert {task: rows.shape for task, rows in result.predictions.items()} == {
            task: shapes[task] for task in result.metrics
        }


def test_tokens_are_counted_with_special_tokens(trainer):
    training = trainer(small_config(small_stage(tasks=("sst",), batch_size=48, steps=2, rounds=2)))
    texts = trainer.corpus.splits["sst"]["train"].texts[0]
    tokens_per_epoch = len(texts.values) + 2 * len(texts)  # [CLS] and [SEP]
    assert [result.tokens for result in training] == [tokens_per_epoch, 2 * tokens_per_epoch]


def test_a_loss_is_the_mean_over_the_steps_that_have_it(trainer):
    lazy = SMOOTH.replace(every=4)
    stages = [small_stage(steps=4, rounds=rounds) for rounds in (1, 4)]
    (whole,), each = (list(trainer(small_config(stage, smart=lazy), dev_limit=2)) for stage in stages)
    assert [{"sst.smart" in result.losses} for result in each] == [{True}, {False}, {False}, {False}]
    for name, value in whole.losses.items():
        found = [result.losses[name] for result in each if name in result.losses]
        assert value == pytest.approx(np.mean(found))  # pyright: ignore[reportCallIssue, reportArgumentType]


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 4},
        {"steps": 24, "batch_schedule": "shuffle"},
        {"steps": 12, "batch_schedule": "cycle", "update": "separate"},
        {"steps": 4, "surgery": "pcgrad"},
    ],
    ids=["together", "shuffle", "separate", "surgery"],
)
def test_every_task_has_a_gradient_ratio_in_every_round_with_every_kind_of_step(trainer, changes):
    stage = small_stage(rounds=2, **changes)
    smart = SMOOTH.replace(every=2)
    for result in trainer(small_config(stage, smart=smart, regularisers={"r_drop": 1.0}), dev_limit=4):
        assert set(result.ratios) == {f"{task}.{name}" for task in TASKS for name in ("smart", "r_drop")}
        assert all(ratio > 0 for ratio in result.ratios.values())


@pytest.mark.parametrize("surgery", ["sum", "pcgrad"])
def test_measuring_gradient_ratios_does_not_change_the_weights(trainer, surgery, monkeypatch):
    config = small_config(small_stage(surgery=surgery), smart=SMOOTH, regularisers={"r_drop": 1.0})
    measured = trainer.weights(config)
    monkeypatch.setattr(Training, "_ratio_steps", lambda self, round: set())
    assert same(trainer.weights(config), measured)


def test_predictions_of_a_round_are_the_outputs_of_the_current_model(trainer):
    training = trainer(small_config(smart=SMOOTH, **HIGH_DROPOUT))
    for result in training:
        outputs = evaluate(training.model, training.corpus, "dev", training.dev_rows)
        assert all(np.array_equal(outputs[task], result.predictions[task]) for task in TASKS)


def test_two_trainings_that_alternate_in_one_process_do_not_affect_each_other(trainer):
    stage = small_stage(rounds=3, steps=3, surgery="gradvac")
    configs = [small_config(stage, seed=seed, smart=SMOOTH, bregman=BREGMAN) for seed in (0, 1)]
    alone = [comparable(list(trainer(config))) for config in configs]
    turns = list(zip(*(trainer(config) for config in configs), strict=True))
    assert [comparable(list(results)) for results in zip(*turns, strict=True)] == alone
    assert alone[0] != alone[1]


def test_training_does_not_change_the_shared_pretrained_weights(trainer):
    before = {name: value.clone() for name, value in trainer.pretrained.weights.items()}
    after = trainer.weights(small_config())
    assert same(trainer.pretrained.weights, before)
    assert not torch.equal(after["encoder.word.weight"], before["word.weight"])


def test_tasks_in_also_scored_are_evaluated_and_not_trained(trainer):
    training = trainer(small_config(small_stage(tasks=("sst",)), also_scored=("sts", "qqp")))
    before = weights_of(training)
    for result in training:
        assert set(result.metrics) == set(result.predictions) == {"sst", "qqp", "sts"}
        assert set(result.losses) == {"sst.loss"}
        assert result.judged and result.score is not None
    after = weights_of(training)
    changed = {name.split(".")[1] for name in after if not torch.equal(after[name], before[name])}
    assert "sst" in changed and not changed & {"sts", "qqp"}


# Settings without effect on the trained weights.


NO_EFFECT: dict[str, dict[str, Any]] = {
    "smart of no task": {"smart": {}},
    "no weight for Bregman": {"bregman": {"mu": 0.0, "beta": 0.5}},
    "no weight for Bregman on its task": {"bregman": {"mu": {"sst": 0.0}}},
    "no weight for R-Drop": {"regularisers": {"r_drop": {"sst": 0.0}}},
    "class weights of 1": {"class_weights": {"sst": (1, 1, 1, 1, 1), "qqp": (1, 1)}},
    "a moving average": {"averaging": {"kind": "ema"}},
    "an average of the last quarter": {"averaging": {"kind": "swa"}},
}


@pytest.mark.parametrize("name", NO_EFFECT)
def test_a_regulariser_with_weight_0_and_an_average_do_not_change_the_trained_weights(trainer, name):
    stage = small_stage(steps=3, rounds=1)
    assert same(trainer.weights(small_config(stage)), trainer.weights(small_config(stage, **NO_EFFECT[name])))


EFFECT: dict[str, dict[str, Any]] = {
    "smart": {"smart": SMOOTH},
    "smart of one task": {"smart": {"sts": SMOOTH}},
    "Bregman": {"bregman": BREGMAN},
    "R-Drop": {"regularisers": {"r_drop": {"sst": 1.0}}},
    "class weights": {"class_weights": {"qqp": (1, 2)}},
    "learning rates by layer": {"optimizer": {"layer_decay": 0.5}},
    "no decay of the learning rate": {"optimizer": {"decay": False}},
}


@pytest.mark.parametrize("name", EFFECT)
def test_a_setting_with_an_effect_changes_the_trained_weights(trainer, name):
    stage = small_stage(steps=3, rounds=1)
    assert not same(trainer.weights(small_config(stage)), trainer.weights(small_config(stage, **EFFECT[name])))


# Models that are not finite.


@pytest.mark.parametrize("surgery", ["sum", "pcgrad", "gradvac"])
def test_a_diverging_model_is_not_finite_and_has_no_score(trainer, surgery):
    stage = small_stage(learning_rate=1e30, steps=6, rounds=2, surgery=surgery, batch_schedule="cycle")
    for result in trainer(small_config(stage, optimizer={"warmup": 0.0}, smart=SMOOTH), dev_limit=2):
        assert (result.finite, result.score, result.metrics, result.predictions) == (False, None, {}, {})
        assert None in result.losses.values() and result.loss is None
        assert all(np.isfinite(ratio) for ratio in result.ratios.values())


def test_a_model_with_finite_weights_and_nan_outputs_is_not_finite(trainer):
    """All losses are finite, but after the last step the outputs are NaN; their argmax, class 0, would score."""
    stage = small_stage(learning_rate=1e20, steps=1, rounds=1, batch_schedule="cycle")
    training = trainer(small_config(stage, optimizer={"warmup": 0.0}))
    (result,) = training
    assert all(torch.isfinite(weight).all() for weight in weights_of(training).values())
    assert (result.finite, result.score, result.metrics, result.predictions) == (False, None, {}, {})


def test_a_model_with_an_unused_weight_of_nan_is_not_finite(trainer):
    training = trainer(small_config())
    with torch.no_grad():
        training.model.encoder.word.weight[training.corpus.special_tokens.mask] = float("nan")
    result = next(iter(training))
    assert all(value is not None for value in result.losses.values())
    assert (result.finite, result.score) == (False, None)


# Resumed runs.


@pytest.fixture
def saved(trainer, tmp_path) -> Folder:
    """Return a checkpoint that was written after the first of three rounds."""
    training = trainer(small_config(three_rounds(), bregman=BREGMAN))
    next(iter(training))
    training.save(Folder.at(tmp_path))
    return Folder.at(tmp_path)


def three_rounds(**changes: Any) -> Stage:
    return small_stage(rounds=3, steps=6, surgery="gradvac", **changes)


def test_two_resumed_runs_of_a_checkpoint_are_equal_to_the_uninterrupted_run(trainer, saved):
    config = small_config(three_rounds(), bregman=BREGMAN)
    resumed = [comparable(list(trainer(config, saved))) for _ in range(2)]
    assert resumed[0] == resumed[1] == comparable(list(trainer(config)))[1:]


@pytest.mark.parametrize(
    "changes",
    [
        {"smart": SMOOTH},
        {"dropout": 0.5},
        {"bregman": BREGMAN | {"mu": 2.0}},
        {"regularisers": {"r_drop": 1.0}},
        {"stages": (three_rounds(learning_rate=1e-4),)},
    ],
    ids=["lambda_s", "dropout", "mu", "r_drop", "learning_rate"],
)
def test_a_resumed_run_with_another_config_continues_from_the_same_weights(trainer, saved, changes):
    config = small_config(three_rounds(), bregman=BREGMAN)
    source, clone = trainer(config, saved), trainer(config.replace(**changes), saved)
    assert same(weights_of(source), weights_of(clone))
    assert [result.round for result in clone] == [result.round for result in source] == [2, 3]
    assert not same(weights_of(source), weights_of(clone))


def test_supervised_simcse_on_single_sentences_is_an_input_error(trainer):
    stage = small_stage(objective="simcse", tasks=(), texts=("snli", "imdb"), simcse={"supervised": True})
    with pytest.raises(InputError, match="text set 'imdb' has one sentence per line"):
        trainer(small_config(stage, small_stage()))
    trainer(small_config(stage.replace(texts=("snli",)), small_stage()))


def test_a_task_that_the_corpus_lacks_is_an_input_error(corpus, pretrained):
    part = replace(corpus, splits={task: corpus.splits[task] for task in ("sst", "sts")})
    with pytest.raises(InputError, match=r"Unknown task or text set of the data 'qqp'.*sst, sts"):
        Training(small_config(), part, pretrained)
