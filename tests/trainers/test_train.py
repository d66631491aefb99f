"""The loop: gradients, optimiser steps, stages, counts, and models that are not finite."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.errors import InputError
from model.multitask import Multitask
from model.weights import Pretrained
from tests.conftest import small_config, small_stage
from trainers.batch_schedules import BATCH_SCHEDULES
from trainers.config import Stage, TrainConfig
from trainers.data import Corpus
from trainers.evaluate import evaluate
from trainers.files import Folder
from trainers.seeds import generator
from trainers.smart import SmartConfig
from trainers.surgery import SURGERIES, gramian, weighted_sum
from trainers.train import RoundResult, Training, build

STILL = {"dropout": 0.0, "attention_dropout": 0.0, "head_dropout": 0.0}
TASKS = ("sst", "qqp", "sts")

every_schedule = pytest.mark.parametrize("schedule", BATCH_SCHEDULES)
every_surgery = pytest.mark.parametrize("surgery", SURGERIES)


class Trainer:
    """What most tests make a training of."""

    def __init__(self, corpus: Corpus, pretrained: Pretrained):
        self.corpus, self.pretrained = corpus, pretrained

    def __call__(self, config: TrainConfig, resume: Folder | None = None, dev_limit: int = 20) -> Training:
        return Training(config, self.corpus, self.pretrained, resume=resume, dev_limit=dev_limit)

    def weights(self, config: TrainConfig) -> dict[str, Tensor]:
        """Train to the end; return the weights."""
        training = self(config)
        assert list(training)
        return weights_of(training)


@pytest.fixture
def trainer(corpus, pretrained) -> Trainer:
    return Trainer(corpus, pretrained)


def weights_of(training: Training) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def gradients(training: Training, tasks: tuple[str, ...] | None = None, at: int = 0) -> dict[str, Tensor | None]:
    """The gradient of each parameter after the backward pass of a step, of some of its tasks alone."""
    step, training.step = training.plan[at], at
    for parameter in training.model.parameters():
        parameter.grad = None
    training._backward(replace(step, rows={task: step.rows[task] for task in tasks or step.rows}))
    return {name: parameter.grad for name, parameter in training.model.named_parameters()}


def comparable(results: list[RoundResult]) -> list[dict[str, Any]]:
    """Results without what a clock measured."""
    found = []
    for result in results:
        values = {name: value for name, value in vars(result).items() if not name.endswith("_seconds")}
        found.append({**values, "predictions": {name: rows.tolist() for name, rows in result.predictions.items()}})
    return found


@pytest.mark.parametrize("pairs", ["concatenated", "separate"])
@pytest.mark.parametrize("surgery", [name for name in SURGERIES if name != "sum"])
def test_surgery_leaves_every_head_the_gradient_of_its_own_task(trainer, surgery, pairs):
    stage = small_stage(surgery=surgery, batch_schedule="cycle")
    training = trainer(small_config(stage, pairs=pairs, smart=SmartConfig(lambda_s=1.0)))
    together = gradients(training)
    for task in TASKS:
        alone = gradients(training, (task,))
        heads = {name for name in alone if name.startswith(f"heads.{task}.")}
        assert heads and all(torch.equal(together[name], alone[name]) for name in heads)  # pyright: ignore[reportArgumentType]


def drawn(gramian: Tensor, draw: torch.Generator) -> Tensor:
    """A surgery whose every weight is a draw."""
    return torch.rand(len(gramian), dtype=torch.float64, generator=draw)


@pytest.mark.parametrize("surgery", [*SURGERIES, "drawn"])
def test_the_encoder_gets_what_the_surgery_makes_of_the_tasks_gradients(trainer, surgery, monkeypatch):
    monkeypatch.setitem(SURGERIES, "drawn", drawn)
    training = trainer(small_config(small_stage(surgery=surgery, batch_schedule="cycle"), **STILL))
    names = [name for name in gradients(training) if name.startswith("encoder.")]
    cut = 0
    for at in range(len(training.plan)):
        of_tasks = [gradients(training, (task,), at) for task in TASKS]
        alone = [[found[name] for name in names] for found in of_tasks]
        weights = SURGERIES[surgery](gramian(alone), generator(training.config.seed, at, "surgery"))
        together = gradients(training, at=at)
        for name, expected in zip(names, weighted_sum(alone, weights), strict=True):
            torch.testing.assert_close(together[name], expected, rtol=1e-3, atol=1e-5)
        cut += int((weights != 1).sum())
    assert surgery == "sum" or cut > 3, "no gradients were in conflict: this proves nothing"


@every_surgery
def test_a_task_absent_from_a_step_leaves_its_head_without_gradient_and_as_it_is(trainer, surgery):
    training = trainer(small_config(small_stage(surgery=surgery, batch_schedule="shuffle", steps=6, rounds=6)))
    assert len({task for step in training.plan for task in step.rows}) == 3
    rounds = iter(training)
    for step in training.plan:
        before = weights_of(training)
        next(rounds)
        grads = {name: parameter.grad for name, parameter in training.model.named_parameters()}
        for name, weight in weights_of(training).items():
            if name.startswith("heads."):
                present = name.split(".")[1] in step.rows
                assert (grads[name] is not None) == present
                assert torch.equal(weight, before[name]) != present, "absent, and yet weight decay moves it"


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
    for result in results:
        assert result.loss == pytest.approx(sum(value for value in result.losses.values() if value))
        assert result.metrics.keys() == set(TASKS), "tasks that no stage has trained yet are measured too"
        assert {task: rows.shape for task, rows in result.predictions.items()} == {
            "sst": (15, 5), "qqp": (15, 1), "sts": (15, 1),
        }  # fmt: skip


def test_predictions_are_those_of_the_model_as_it_stands(trainer):
    training = trainer(small_config(small_stage(), smart=SmartConfig(lambda_s=1.0), dropout=0.5))
    for result in training:
        outputs = evaluate(training.model, training.corpus, "dev", training.rows, "concatenated")
        assert all(np.array_equal(outputs[task], result.predictions[task]) for task in TASKS)


def test_trainings_that_take_turns_in_a_process_do_not_know_of_each_other(trainer):
    stage = small_stage(rounds=3, surgery="pcgrad")
    configs = [small_config(stage, seed=seed, smart=SmartConfig(lambda_s=1.0)) for seed in (0, 1)]
    alone = [comparable(list(trainer(config))) for config in configs]
    turns = list(zip(*(trainer(config) for config in configs), strict=True))
    assert [comparable(list(results)) for results in zip(*turns, strict=True)] == alone
    assert alone[0] != alone[1]


@every_schedule
def test_without_lambda_smart_trains_to_the_bits_of_plain(trainer, schedule):
    stage = small_stage(batch_schedule=schedule, steps=3, rounds=1)
    off = SmartConfig(lambda_s=0.0, radius=1.0, ascent_steps=2)
    plain = trainer.weights(small_config(stage))
    assert same(plain, trainer.weights(small_config(stage, smart=off)))
    assert not same(plain, trainer.weights(small_config(stage, smart=off.replace(lambda_s=1.0))))


def test_training_leaves_the_pretrained_weights_to_the_next_trial(trainer):
    before = {name: value.clone() for name, value in trainer.pretrained.weights.items()}
    after = trainer.weights(small_config())
    assert same(trainer.pretrained.weights, before)
    assert not torch.equal(after["encoder.word.weight"], before["word.weight"])


def test_a_head_starts_the_same_whoever_its_neighbours_are(pretrained):
    def heads(*tasks: str, seed: int = 0) -> dict[str, Tensor]:
        model: Multitask = build(small_config(small_stage(tasks=tasks), seed=seed), pretrained)
        return {name: value for name, value in model.state_dict().items() if name.startswith("heads.")}

    alone, other = heads("sts"), heads("sts", seed=1)
    for tasks in (("sst", "sts"), ("sts", "qqp")):
        together = heads(*tasks)
        assert all(torch.equal(together[name], value) for name, value in alone.items())
    assert not torch.equal(alone["heads.sts.1.weight"], other["heads.sts.1.weight"])
    assert not torch.equal(alone["heads.sts.1.weight"], heads("qqp")["heads.qqp.1.weight"])


def test_a_stage_takes_the_model_over_and_nothing_of_the_optimiser(trainer):
    config = small_config(small_stage(tasks=("qqp",), rounds=1), small_stage(rounds=1))
    whole, cleared = trainer(config), trainer(config)
    for training in (whole, cleared):
        next(iter(training))
    cleared.optimizer.state.clear()
    assert same(weights_of(whole), weights_of(cleared))
    second = next(iter(whole)), next(iter(cleared))
    assert comparable([second[0]]) == comparable([second[1]])
    assert same(weights_of(whole), weights_of(cleared))
    fresh = trainer(config.replace(stages=(config.stages[1],)))
    next(iter(fresh))
    assert not same(weights_of(whole), weights_of(fresh)), "the first stage did not count"


def test_the_learning_rate_of_every_stage_ends_with_its_last_step(trainer):
    stages = small_stage(steps=10, rounds=1), small_stage(steps=5, rounds=1, learning_rate=0.1)
    training = trainer(small_config(*stages, optimizer={"warmup": 0.2}))
    for stage, _ in zip(stages, training, strict=True):
        (rate,) = {group["lr"] for group in training.optimizer.param_groups}
        assert rate == pytest.approx(stage.learning_rate / (0.8 * (stage.steps or 0)))


@pytest.mark.parametrize("clip_norm", [0.01, None])
def test_the_gradient_is_cut_to_its_bound(trainer, clip_norm):
    training = trainer(small_config(small_stage(steps=2), optimizer={"clip_norm": clip_norm}))
    list(training)
    norms = [parameter.grad.norm() for parameter in training.model.parameters() if parameter.grad is not None]
    norm = float(torch.stack(norms).norm())
    assert norm == pytest.approx(0.01, rel=1e-3) if clip_norm else norm > 0.1


@pytest.mark.parametrize("surgery", SURGERIES)
def test_a_model_that_blows_up_is_told_by_finite_and_by_no_score(trainer, surgery):
    stage = small_stage(learning_rate=1e30, steps=6, rounds=2, surgery=surgery, batch_schedule="cycle")
    for result in trainer(small_config(stage, optimizer={"warmup": 0.0})):
        assert (result.finite, result.score, result.metrics, result.predictions) == (False, None, {}, {})
        assert None in result.losses.values() and result.loss is None


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
        training.model.encoder.word.weight[training.corpus.specials.mask] = float("nan")
    result = next(iter(training))
    assert all(value is not None for value in result.losses.values())
    assert (result.finite, result.score) == (False, None)


@pytest.fixture
def saved(trainer, tmp_path) -> Folder:
    """A checkpoint after the first of three rounds."""
    training = trainer(small_config(three_rounds()))
    next(iter(training))
    training.save(Folder.at(tmp_path))
    return Folder.at(tmp_path)


def three_rounds(**changes: Any) -> Stage:
    return small_stage(rounds=3, steps=6, surgery="pcgrad", **changes)


def test_two_continuations_of_a_checkpoint_are_one(trainer, saved):
    config = small_config(three_rounds())
    continuations = [comparable(list(trainer(config, saved))) for _ in range(2)]
    assert continuations[0] == continuations[1] == comparable(list(trainer(config)))[1:]


@pytest.mark.parametrize(
    "changes",
    [{"smart": SmartConfig(lambda_s=1.0)}, {"dropout": 0.5}, {"stages": (three_rounds(learning_rate=1e-4),)}],
    ids=["lambda_s", "dropout", "learning_rate"],
)
def test_a_clone_goes_on_from_the_same_weights_under_other_values(trainer, saved, changes):
    config = small_config(three_rounds())
    source, clone = trainer(config, saved), trainer(config.replace(**changes), saved)
    assert same(weights_of(source), weights_of(clone))
    assert [result.round for result in clone] == [result.round for result in source] == [2, 3]
    assert not same(weights_of(source), weights_of(clone))


def test_a_task_that_the_data_lacks_is_refused(corpus, pretrained):
    part = replace(corpus, splits={task: corpus.splits[task] for task in ("sst", "sts")})
    with pytest.raises(InputError, match="no rows of task 'qqp', only of sst, sts"):
        Training(small_config(), part, pretrained)
