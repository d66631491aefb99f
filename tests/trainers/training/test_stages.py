"""Test stages: what a stage keeps from earlier stages, which layers it trains, and the copies of the model."""

from typing import Any

import numpy as np
import pytest
import torch

from model.errors import InputError
from model.pretrained import Pretrained
from tests.conftest import ROWS, small_config, small_stage
from tests.trainers.small_models import HIGH_DROPOUT
from tests.trainers.small_training import TASKS, Trainer, comparable, same, weights_of
from trainers.config.changes import Change
from trainers.config.train_config import Stage
from trainers.data.batches import next_rows
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.evaluation.evaluate import evaluate
from trainers.folder import Folder
from trainers.methods.averaging import AveragingConfig
from trainers.methods.smart import SmartConfig
from trainers.training.checkpoint import read_weights
from trainers.training.step_plan import plan

SMOOTH = SmartConfig(lambda_s=1.0)
BREGMAN = {"mu": 1.0, "early_beta": 0.75, "beta": 0.5}


@pytest.fixture(scope="module")
def trainer(corpus, pretrained) -> Trainer:
    return Trainer(corpus, pretrained)


# From stage to stage.


def test_a_stage_continues_with_the_model_and_a_new_optimiser(trainer):
    config = small_config(small_stage(tasks=("qqp",), rounds=1), small_stage(rounds=1))
    whole, cleared = trainer(config), trainer(config)
    for training in (whole, cleared):
        next(iter(training))
    cleared.optimizer.state.clear()
    carried = weights_of(whole)
    assert same(carried, weights_of(cleared))
    second = next(iter(whole)), next(iter(cleared))
    assert comparable([second[0]]) == comparable([second[1]])
    assert same(weights_of(whole), weights_of(cleared))
    fresh = trainer(config.replace(stages=(config.stages[1],)))
    assert not torch.equal(carried["heads.qqp.1.weight"], weights_of(fresh)["heads.qqp.1.weight"])
    next(iter(fresh))
    assert not same(weights_of(whole), weights_of(fresh)), "the first stage had no effect"


@pytest.fixture(scope="module")
def one_row(pretrained: Pretrained, tmp_path_factory) -> Corpus:
    return Corpus.open(prepare("sample", pretrained.tokenizer, rows=1, seed=0, cache=tmp_path_factory.mktemp("one"))[0])


def test_simcse_over_a_single_row_is_refused(one_row, corpus):
    """It has no negatives: its loss is 0, without a gradient."""
    stage = small_stage(objective="simcse", tasks=("qqp",), steps=3)
    config = small_config(stage, small_stage())
    plan(config, corpus)
    with pytest.raises(InputError, match="and qqp has a single training row"):
        plan(config, one_row)
    message = "batches of qqp have a single row"
    with pytest.raises(InputError, match=message):
        plan(small_config(stage.replace(batch_size=1), small_stage()), corpus)
    with pytest.raises(InputError, match=message):
        plan(config.replace(changes=(Change(round=2, values={"stages.0.batch_size": 1}),)), corpus)
    plan(small_config(stage.replace(objective="mlm", batch_size=1), small_stage()), corpus)


def test_supervised_simcse_of_triples_may_have_batches_of_a_single_row(corpus):
    """The third column of its own row is a negative."""
    stage = small_stage(objective="simcse", tasks=(), texts=("snli",), batch_size=1, simcse={"supervised": True})
    plan(small_config(stage, small_stage()), corpus)


@pytest.mark.parametrize("objective", ["mlm", "simcse"])
def test_further_pretraining_trains_no_heads_and_takes_no_rows_from_the_supervised_streams(trainer, objective):
    texts, joint = small_stage(objective=objective, rounds=1), small_stage(rounds=1)
    training = trainer(small_config(texts, joint))
    before = weights_of(training)
    rounds = iter(training)
    result = next(rounds)
    assert (result.judged, result.score, result.metrics, result.predictions) == (None, None, {}, {})
    assert set(result.losses) == {f"{task}.loss" for task in TASKS} and result.finite
    assert result.loss and result.loss > 0
    after = weights_of(training)
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert "encoder" in changed and "heads" not in changed
    first = training.plan[training.step]
    rows = training._next_rows(joint, first)
    assert {task: rows[task].tolist() for task in first.rows} == {
        task: next_rows(ROWS, 0, task, 0, count).tolist() for task, count in first.rows.items()
    }


def test_the_mlm_loss_falls_from_round_to_round(trainer):
    stage = small_stage(objective="mlm", tasks=("sst",), batch_size=48, steps=30, rounds=3)
    results = list(trainer(small_config(stage, small_stage(steps=1, rounds=1)), dev_limit=2))
    losses = [result.loss or 0.0 for result in results[:3]]
    assert losses[0] > losses[1] > losses[2]


def test_the_learning_rate_of_every_stage_falls_until_its_last_step(trainer):
    stages = small_stage(steps=10, rounds=1), small_stage(steps=5, rounds=1, learning_rate=0.1)
    training = trainer(small_config(*stages, optimizer={"warmup": 0.2}), dev_limit=2)
    for stage, _ in zip(stages, training, strict=True):
        (rate,) = {group["lr"] for group in training.optimizer.param_groups}
        assert rate == pytest.approx(stage.learning_rate / (0.8 * (stage.steps or 0)))


def test_each_layer_has_half_the_learning_rate_of_the_layer_above(trainer):
    training = trainer(small_config(optimizer={"layer_decay": 0.5}))
    rates = {parameter: group["scale"] for group in training.optimizer.param_groups for parameter in group["params"]}
    found = {name: rates[parameter] for name, parameter in training.model.named_parameters() if name.endswith("weight")}
    assert {found[f"encoder.{name}.weight"] for name in ("word", "position", "segment", "norm")} == {0.25}
    assert {rate for name, rate in found.items() if name.startswith("encoder.layers.0.")} == {0.5}
    assert {rate for name, rate in found.items() if name.startswith(("encoder.layers.1.", "encoder.pooler"))} == {1.0}
    assert {rate for name, rate in found.items() if name.startswith("heads.")} == {1.0}


@pytest.mark.parametrize("clip_norm", [0.01, None])
def test_the_gradient_norm_is_clipped(trainer, clip_norm):
    training = trainer(small_config(small_stage(steps=2), optimizer={"clip_norm": clip_norm}), dev_limit=2)
    list(training)
    norms = [parameter.grad.norm() for parameter in training.model.parameters() if parameter.grad is not None]
    norm = float(torch.stack(norms).norm())
    assert norm == pytest.approx(0.01, rel=1e-3) if clip_norm else norm > 0.1


# Trainable layers.


def changed_blocks(trainer: Trainer, *stages: Stage, **changes: Any) -> set[str]:
    """Train; return the blocks of the model in which a weight changed."""
    training = trainer(small_config(*stages, **changes), dev_limit=2)
    before = weights_of(training)
    list(training)
    return {block_of(name) for name, value in weights_of(training).items() if not torch.equal(value, before[name])}


def block_of(name: str) -> str:
    part, *inside = name.split(".")
    if part == "heads":
        return part
    return f"layers.{inside[1]}" if inside[0] == "layers" else inside[0] if inside[0] == "pooler" else "embeddings"


@pytest.mark.parametrize(
    ("trainable_layers", "expected"),
    [
        (0, {"heads"}),
        (1, {"heads", "layers.1", "pooler"}),
        (2, {"heads", "layers.0", "layers.1", "pooler"}),
        (9, {"heads", "layers.0", "layers.1", "pooler"}),  # the encoder has two layers
        (None, {"heads", "embeddings", "layers.0", "layers.1", "pooler"}),
    ],
)
@pytest.mark.parametrize(
    "changes",
    [{}, {"smart": SMOOTH, "bregman": BREGMAN, "regularisers": {"r_drop": 1.0}}],
    ids=["plain", "regularised"],
)
def test_exactly_the_top_layers_the_pooler_and_the_heads_are_trained(trainer, trainable_layers, expected, changes):
    stage = small_stage(steps=2, rounds=1, trainable_layers=trainable_layers, surgery="pcgrad", batch_schedule="cycle")
    assert changed_blocks(trainer, stage, **changes) == expected


def test_a_later_stage_may_unfreeze_or_freeze_layers(trainer):
    frozen, top, whole = (small_stage(steps=2, rounds=1, trainable_layers=layers) for layers in (0, 1, None))
    assert "embeddings" in changed_blocks(trainer, frozen, whole)
    training = trainer(small_config(whole, top, frozen), dev_limit=2)
    after = [weights_of(training) for _ in training]
    for (name, early), middle, late in zip(after[0].items(), after[1].values(), after[2].values(), strict=True):
        above = name.startswith(("heads", "encoder.layers.1.", "encoder.pooler"))
        assert torch.equal(early, middle) != above, name
        assert torch.equal(middle, late) != name.startswith("heads"), name


def test_a_step_without_a_task_leaves_the_head_of_the_task_unchanged_and_without_gradient(trainer):
    training = trainer(small_config(small_stage(batch_schedule="shuffle", steps=6, rounds=6)), dev_limit=2)
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
                assert torch.equal(weight, before[name]) != present, "weight decay must not change it"


# Teacher and average.


def test_the_proximal_term_is_0_in_a_stage_s_first_step_and_positive_afterwards(trainer):
    joint = small_stage(steps=3, rounds=3)
    stages = joint, small_stage(steps=2, rounds=1, objective="mlm"), joint
    training = trainer(small_config(*stages, bregman={"mu": {"sst": 2.0}}, **HIGH_DROPOUT), dev_limit=2)
    found = [result.losses.get("sst.bregman") for result in training]
    assert found[0] == 0.0 and found[1] and found[2], "at dropout 0.5: the teacher has the masks of the model"
    assert found[3] is None
    assert found[4] == 0.0 and found[5], "the teacher starts from the model again"
    assert training.teacher is not None and training.teacher.training


def test_the_teacher_moves_towards_the_model_in_every_step(trainer):
    stages = small_stage(steps=2, rounds=1), small_stage(steps=4, rounds=4)
    training = trainer(small_config(*stages, bregman=BREGMAN), dev_limit=2)
    rounds = iter(training)
    next(rounds)
    expected = weights_of(training)
    for step, _ in enumerate(rounds):
        beta = BREGMAN["early_beta"] if step < 0.1 * 4 else BREGMAN["beta"]
        now = weights_of(training)
        expected = {name: beta * value + (1 - beta) * now[name] for name, value in expected.items()}
        assert training.teacher is not None
        for name, value in training.teacher.state_dict().items():
            torch.testing.assert_close(value, expected[name])
    assert not any(parameter.requires_grad for parameter in training.teacher.parameters())


@pytest.mark.parametrize("averaging", [AveragingConfig(kind="ema", beta=0.5), AveragingConfig(kind="swa")])
def test_the_averaged_model_is_evaluated_and_saved(trainer, averaging, tmp_path):
    training = trainer(small_config(small_stage(steps=8, rounds=1), averaging=averaging))
    (result,) = training
    found = {
        name: evaluate(model, training.corpus, "dev", training.dev_rows)
        for name, model in (("average", training.average), ("model", training.model))
    }
    assert all(np.array_equal(found["average"][task], result.predictions[task]) for task in TASKS)
    assert not any(np.array_equal(found["model"][task], result.predictions[task]) for task in TASKS)
    training.save(Folder.at(tmp_path))
    assert same(read_weights(Folder.at(tmp_path)), dict(training.average.state_dict()))
