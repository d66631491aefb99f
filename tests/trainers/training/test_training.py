"""The loop: what its rounds say, what leaves no trace in it, models that are not finite, and continuations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import InputError
from tests.conftest import small_config, small_stage
from tests.trainers.passes import WILD
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


# Rounds and what they say.


def test_rounds_count_what_the_plan_says(trainer):
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


def test_tokens_are_those_that_were_trained_on(trainer):
    training = trainer(small_config(small_stage(tasks=("sst",), batch_size=48, steps=2, rounds=2)))
    texts = trainer.corpus.splits["sst"]["train"].texts[0]
    whole_pass = len(texts.values) + 2 * len(texts)  # [CLS] and [SEP]
    assert [result.tokens for result in training] == [whole_pass, 2 * whole_pass]


def test_a_loss_is_the_mean_over_the_steps_that_had_it(trainer):
    lazy = SMOOTH.replace(every=4)
    one, two = (
        trainer(small_config(small_stage(steps=4, rounds=rounds), smart=lazy), dev_limit=2) for rounds in (1, 4)
    )
    (whole,), each = list(one), list(two)
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
def test_every_task_s_ratio_is_measured_once_a_round_however_tasks_meet(trainer, changes):
    stage = small_stage(rounds=2, **changes)
    smart = SMOOTH.replace(every=2)
    for result in trainer(small_config(stage, smart=smart, regularisers={"r_drop": 1.0}), dev_limit=4):
        assert set(result.ratios) == {f"{task}.{name}" for task in TASKS for name in ("smart", "r_drop")}
        assert all(ratio > 0 for ratio in result.ratios.values())


@pytest.mark.parametrize("surgery", ["sum", "pcgrad"])
def test_ratios_are_only_looked_at(trainer, surgery, monkeypatch):
    config = small_config(small_stage(surgery=surgery), smart=SMOOTH, regularisers={"r_drop": 1.0})
    looked = trainer.weights(config)
    monkeypatch.setattr(Training, "_ratio_steps", lambda self, round: set())
    assert same(trainer.weights(config), looked)


def test_predictions_are_those_of_the_model_as_it_stands(trainer):
    training = trainer(small_config(smart=SMOOTH, **WILD))
    for result in training:
        outputs = evaluate(training.model, training.corpus, "dev", training.dev_rows)
        assert all(np.array_equal(outputs[task], result.predictions[task]) for task in TASKS)


def test_trainings_that_take_turns_in_a_process_do_not_know_of_each_other(trainer):
    stage = small_stage(rounds=3, steps=3, surgery="gradvac")
    configs = [small_config(stage, seed=seed, smart=SMOOTH, bregman=BREGMAN) for seed in (0, 1)]
    alone = [comparable(list(trainer(config))) for config in configs]
    turns = list(zip(*(trainer(config) for config in configs), strict=True))
    assert [comparable(list(results)) for results in zip(*turns, strict=True)] == alone
    assert alone[0] != alone[1]


def test_training_leaves_the_pretrained_weights_to_the_next_trial(trainer):
    before = {name: value.clone() for name, value in trainer.pretrained.weights.items()}
    after = trainer.weights(small_config())
    assert same(trainer.pretrained.weights, before)
    assert not torch.equal(after["encoder.word.weight"], before["word.weight"])


def test_tasks_that_are_only_scored_are_predicted_and_never_trained(trainer):
    training = trainer(small_config(small_stage(tasks=("sst",)), also_scored=("sts", "qqp")))
    before = weights_of(training)
    for result in training:
        assert set(result.metrics) == set(result.predictions) == {"sst", "qqp", "sts"}
        assert set(result.losses) == {"sst.loss"}
        assert result.judged and result.score is not None
    moved = {name.split(".")[1] for name, value in weights_of(training).items() if not torch.equal(value, before[name])}
    assert "sst" in moved and not moved & {"sts", "qqp"}


# What is left out leaves no trace.


OFF: dict[str, dict[str, Any]] = {
    "smart of no task": {"smart": {}},
    "no weight for Bregman": {"bregman": {"mu": 0.0, "beta": 0.5}},
    "no weight for Bregman's task": {"bregman": {"mu": {"sst": 0.0}}},
    "no weight for R-Drop": {"regularisers": {"r_drop": {"sst": 0.0}}},
    "class weights of 1": {"class_weights": {"sst": (1, 1, 1, 1, 1), "qqp": (1, 1)}},
    "a moving average": {"averaging": {"kind": "ema"}},
    "an average of the last quarter": {"averaging": {"kind": "swa"}},
}


@pytest.mark.parametrize("name", OFF)
def test_what_has_no_weight_or_only_follows_trains_to_the_bits_of_plain(trainer, name):
    stage = small_stage(steps=3, rounds=1)
    assert same(trainer.weights(small_config(stage)), trainer.weights(small_config(stage, **OFF[name])))


ON: dict[str, dict[str, Any]] = {
    "smart": {"smart": SMOOTH},
    "smart of one task": {"smart": {"sts": SMOOTH}},
    "Bregman": {"bregman": BREGMAN},
    "R-Drop": {"regularisers": {"r_drop": {"sst": 1.0}}},
    "class weights": {"class_weights": {"qqp": (1, 2)}},
    "layers that learn at different rates": {"optimizer": {"layer_decay": 0.5}},
    "no decay of the rate": {"optimizer": {"decay": False}},
}


@pytest.mark.parametrize("name", ON)
def test_what_has_a_weight_trains_to_others(trainer, name):
    stage = small_stage(steps=3, rounds=1)
    assert not same(trainer.weights(small_config(stage)), trainer.weights(small_config(stage, **ON[name])))


# Models that are not finite.


@pytest.mark.parametrize("surgery", ["sum", "pcgrad", "gradvac"])
def test_a_model_that_blows_up_is_told_by_finite_and_by_no_score(trainer, surgery):
    stage = small_stage(learning_rate=1e30, steps=6, rounds=2, surgery=surgery, batch_schedule="cycle")
    for result in trainer(small_config(stage, optimizer={"warmup": 0.0}, smart=SMOOTH), dev_limit=2):
        assert (result.finite, result.score, result.metrics, result.predictions) == (False, None, {}, {})
        assert None in result.losses.values() and result.loss is None
        assert all(np.isfinite(ratio) for ratio in result.ratios.values())


def test_a_model_that_blows_up_with_the_last_step_of_a_round_has_finite_weights_and_is_not_finite(trainer):
    """No loss has told yet, but the outputs are NaN: class 0 would score."""
    stage = small_stage(learning_rate=1e20, steps=1, rounds=1, batch_schedule="cycle")
    training = trainer(small_config(stage, optimizer={"warmup": 0.0}))
    (result,) = training
    assert all(torch.isfinite(weight).all() for weight in weights_of(training).values())
    assert (result.finite, result.score, result.metrics, result.predictions) == (False, None, {}, {})


def test_a_weight_that_no_dev_row_uses_must_be_finite_too(trainer):
    training = trainer(small_config())
    with torch.no_grad():
        training.model.encoder.word.weight[training.corpus.special_tokens.mask] = float("nan")
    result = next(iter(training))
    assert all(value is not None for value in result.losses.values())
    assert (result.finite, result.score) == (False, None)


# Continuations.


@pytest.fixture
def saved(trainer, tmp_path) -> Folder:
    """A checkpoint after the first of three rounds."""
    training = trainer(small_config(three_rounds(), bregman=BREGMAN))
    next(iter(training))
    training.save(Folder.at(tmp_path))
    return Folder.at(tmp_path)


def three_rounds(**changes: Any) -> Stage:
    return small_stage(rounds=3, steps=6, surgery="gradvac", **changes)


def test_two_continuations_of_a_checkpoint_are_one(trainer, saved):
    config = small_config(three_rounds(), bregman=BREGMAN)
    continuations = [comparable(list(trainer(config, saved))) for _ in range(2)]
    assert continuations[0] == continuations[1] == comparable(list(trainer(config)))[1:]


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
def test_a_clone_goes_on_from_the_same_weights_under_other_values(trainer, saved, changes):
    config = small_config(three_rounds(), bregman=BREGMAN)
    source, clone = trainer(config, saved), trainer(config.replace(**changes), saved)
    assert same(weights_of(source), weights_of(clone))
    assert [result.round for result in clone] == [result.round for result in source] == [2, 3]
    assert not same(weights_of(source), weights_of(clone))


def test_texts_without_positives_are_refused_where_these_are_the_lines_other_sides(trainer):
    stage = small_stage(objective="simcse", tasks=(), texts=("snli", "imdb"), simcse={"supervised": True})
    with pytest.raises(InputError, match="text set 'imdb' has one sentence per line"):
        trainer(small_config(stage, small_stage()))
    trainer(small_config(stage.replace(texts=("snli",)), small_stage()))


def test_a_task_that_the_data_lacks_is_refused(corpus, pretrained):
    part = replace(corpus, splits={task: corpus.splits[task] for task in ("sst", "sts")})
    with pytest.raises(InputError, match=r"Unknown task or text set of the data 'qqp'.*sst, sts"):
        Training(small_config(), part, pretrained)
