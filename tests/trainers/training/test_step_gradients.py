"""Test the gradients of one step: surgery on shared parameters, and sums over forward groups."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import small_config, small_stage
from tests.trainers.small_models import HIGH_DROPOUT, NO_DROPOUT, enlarged_copy
from tests.trainers.small_training import TASKS, Trainer
from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.objectives import OBJECTIVES, supervised
from trainers.methods.smart import SmartConfig
from trainers.methods.surgery import SURGERIES, gramian, plain_sum, weighted_sum
from trainers.methods.torchjd_weights import WEIGHTINGS
from trainers.seeds import generator
from trainers.training.forward_groups import Rows, split_step
from trainers.training.table_gradients import TableGradients
from trainers.training.task_gradients import TaskGradientMode, TaskGradients
from trainers.training.training import Training

SMOOTH = SmartConfig(lambda_s=1.0)
EVERY_REGULARISER: dict[str, Any] = {"smart": SMOOTH, "bregman": {"mu": 1.0}, "regularisers": {"r_drop": 1.0}}
PAIRS = ("qqp", "sts")
OURS = [name for name in SURGERIES if name not in WEIGHTINGS]

Gradients = dict[str, Tensor | None]


@pytest.fixture(scope="module")
def trainer(corpus, pretrained) -> Trainer:
    return Trainer(corpus, pretrained)


def first_step(config: TrainConfig, trainer: Trainer) -> Training:
    """Return a training at its first step, in float64, with a teacher that differs from the model."""
    training = trainer(config)
    training.model.double()
    if training.teacher:
        training.teacher = enlarged_copy(training.model)
    return training


def rows_of(*tasks: str, count: int = 8) -> Rows:
    return {task: numbers(count) for task in tasks}


def numbers(count: int) -> np.ndarray:
    return np.arange(count)


def gradients(training: Training, rows: Rows, stage: Stage | None = None) -> Gradients:
    """Return each parameter's gradient after a backward pass over rows, and keep the memory of surgery."""
    for parameter in training.model.parameters():
        parameter.grad = None
    step_gradients = training.step_gradients(stage or training.config.stages[0])
    training.surgery_memory = step_gradients.backward(rows).memory
    return copies(training)


def copies(training: Training) -> Gradients:
    """Return copies of each parameter's gradient; the next step may overwrite the originals."""
    found = {name: parameter.grad for name, parameter in training.model.named_parameters()}
    return {name: None if value is None else value.to_dense().clone() for name, value in found.items()}


def worst_difference(left: Gradients, right: Gradients) -> float:
    """Return the largest difference between two gradients, as a share of the largest entry."""
    assert {name for name, value in left.items() if value is None} == {
        name for name, value in right.items() if value is None
    }
    pairs = [(value, right[name]) for name, value in left.items() if value is not None]
    scale = max(float(value.abs().max()) for value, _ in pairs)
    return max(float((value - other).abs().max()) for value, other in pairs if other is not None) / scale


# Surgery.


@pytest.mark.parametrize("pairs", ["concatenated", "separate"])
@pytest.mark.parametrize("surgery", [name for name in OURS if name != "sum"])
def test_surgery_does_not_change_the_gradients_of_heads(trainer, surgery, pairs):
    training = first_step(small_config(small_stage(surgery=surgery), pairs=pairs, **EVERY_REGULARISER), trainer)
    found, summed = gradients(training, rows_of(*TASKS)), gradients(training, rows_of(*TASKS), small_stage())
    heads = {name for name in summed if name.startswith("heads.")}
    assert heads and all(torch.equal(found[name], summed[name]) for name in heads)  # pyright: ignore[reportArgumentType]


MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "every regulariser": EVERY_REGULARISER,
    "SMART without dropout, two steps": {"smart": SMOOTH.replace(dropout="off", ascent_steps=2)},
    "separate pairs": {"pairs": "separate"},
    "mean of tokens": {"pooling": "mean"},
}


@pytest.mark.parametrize("trainable_layers", [None, 1, 0])
@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_the_sum_of_task_gradients_equals_the_gradient_of_the_sum(trainer, changes, trainable_layers, monkeypatch):
    monkeypatch.setitem(SURGERIES, "ones", plain_sum)
    stage = {"trainable_layers": trainable_layers, "accumulate": 2}
    training = first_step(small_config(small_stage(surgery="ones", **stage), **HIGH_DROPOUT, **changes), trainer)
    found = gradients(training, rows_of(*TASKS, count=7))
    summed = gradients(training, rows_of(*TASKS, count=7), small_stage(**stage))
    assert worst_difference(found, summed) < 1e-9


@pytest.mark.parametrize("trainable_layers", [None, 1])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_sum_of_task_gradients_is_right_in_every_precision(trainer, precision, trainable_layers, monkeypatch):
    monkeypatch.setitem(SURGERIES, "ones", plain_sum)
    stage = small_stage(surgery="ones", trainable_layers=trainable_layers)
    training = trainer(small_config(stage, precision=precision, **EVERY_REGULARISER))
    found, summed = gradients(training, rows_of(*TASKS)), gradients(training, rows_of(*TASKS), small_stage())
    assert worst_difference(found, summed) < {"float32": 1e-5, "bfloat16": 2e-2}[precision]


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_a_task_gradient_equals_the_gradient_of_the_task_s_own_loss(trainer, changes):
    training = first_step(small_config(small_stage(surgery="pcgrad"), **HIGH_DROPOUT, **changes), trainer)
    stage, shared = training.config.stages[0], training.model.shared_parameters()
    (group,) = split_step(rows_of(*TASKS), training.config, stage, 0)
    step_gradients = training.step_gradients(stage)
    (batch,) = step_gradients.batches(group)
    task_gradients = TaskGradients(shared, TableGradients())
    with TaskGradientMode(task_gradients, batch.inputs):
        losses = supervised(step_gradients.forward(group, 0, batch))
    torch.stack([loss.total for loss in losses.values()]).sum().backward()
    found = task_gradients.by_task(list(TASKS))
    losses = supervised(step_gradients.forward(group, 0, batch))
    for task, own in zip(TASKS, found, strict=True):
        expected = torch.autograd.grad(losses[task].total, shared, retain_graph=True, allow_unused=True)
        for parameter, mine, other in zip(shared, own, expected, strict=True):
            if other is None:
                assert mine is None or not mine.any()
            else:
                assert mine is not None
                dense = task_gradients.to_dense(parameter, mine)
                torch.testing.assert_close(dense, other.to_dense(), rtol=1e-9, atol=1e-12)


def random_weights(gramian: Tensor, memory: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return random weights and the memory plus 1: a surgery that counts its calls for each pair of tasks."""
    return torch.rand(len(gramian), dtype=torch.float64, generator=draw), memory + 1


SHARED = {"pairs": "separate", "shared_layers": [{"tasks": ("qqp", "sts")}]}


@pytest.mark.parametrize("changes", [{}, SHARED], ids=["encoder", "shared layer"])
@pytest.mark.parametrize("surgery", [*OURS, "random"])
def test_shared_parameters_have_the_weighted_sum_of_the_task_gradients(trainer, surgery, changes, monkeypatch):
    monkeypatch.setitem(SURGERIES, "random", random_weights)
    training = first_step(small_config(small_stage(surgery=surgery), **NO_DROPOUT, **changes), trainer)
    shared = {id(parameter) for parameter in training.model.shared_parameters()}
    names = [name for name, parameter in training.model.named_parameters() if id(parameter) in shared]
    assert any(name.startswith("shared.") for name in names) == bool(changes)
    memory, cut = torch.zeros(3, 3, dtype=torch.float64), 0
    for step in range(4):
        training.step, rows = step, {task: numbers(8) + 8 * step for task in TASKS}
        of_tasks = [gradients(training, {task: some}) for task, some in rows.items()]
        alone = [[found[name] for name in names] for found in of_tasks]
        place = generator(training.config.seed, step, "surgery")
        weights, memory = SURGERIES[surgery](gramian(alone), memory, place)
        together = gradients(training, rows)
        for name, expected in zip(names, weighted_sum(alone, weights), strict=True):
            assert (together[name] is None) == (expected is None)
            if expected is not None:
                torch.testing.assert_close(together[name], expected, rtol=1e-9, atol=1e-12)
        cut += int((weights != 1).sum())
    assert surgery == "sum" or cut > 1, "no gradients conflict, so the test compares nothing"
    if surgery in ("random", "gradvac"):
        remembered = [[training.surgery_memory[f"{row} {column}"] for column in TASKS] for row in TASKS]
        torch.testing.assert_close(torch.tensor(remembered, dtype=torch.float64), memory)
        assert bool(memory.any())


def test_the_memory_of_surgery_belongs_to_pairs_of_tasks_and_not_of_positions(trainer, monkeypatch):
    monkeypatch.setitem(SURGERIES, "random", random_weights)
    training = first_step(small_config(small_stage(surgery="random")), trainer)
    for present in (("sst", "qqp"), ("sts", "sst"), ("sts",)):
        gradients(training, rows_of(*present))
    assert {pair: value for pair, value in training.surgery_memory.items() if "sts" in pair or "qqp" in pair} == {
        "sst qqp": 1, "qqp sst": 1, "qqp qqp": 1, "sts sst": 1, "sst sts": 1, "sts sts": 1,
    }  # fmt: skip
    assert training.surgery_memory["sst sst"] == 2, "a step with one task has no surgery"


# Forward groups.


SMOOTHED = SMOOTH.replace(radius=0.3, step_size=0.3, noise_scale=0.1)
"""SMART with so much noise that other noise gives other gradients."""
BY_TASK = {"sst": SMOOTHED.replace(share=0.3), "qqp": SMOOTHED.replace(norm="l2_sentence", every=2)}
ACCUMULATED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "SMART": ({}, {"smart": SMOOTHED}),
    "SMART on a share": ({}, {"smart": SMOOTHED.replace(share=0.4, ascent_steps=2)}),
    "SMART by task": ({}, {"smart": BY_TASK, "pairs": "separate"}),
    "SMART without dropout": ({}, {"smart": SMOOTHED.replace(dropout="off")}),
    "Bregman": ({}, {"bregman": {"mu": {"sst": 1.0, "sts": 2.0}}}),
    "R-Drop": ({}, {"regularisers": {"r_drop": 1.0}}),
    "class weights": ({}, {"class_weights": {"sst": (1, 2, 3, 4, 5), "qqp": (1, 3)}}),
    "separate pairs": ({}, {"pairs": "separate"}),
    "PCGrad with SMART": ({"surgery": "pcgrad"}, {"smart": SMOOTHED.replace(share=0.5)}),
    "GradVac on shared layers": ({"surgery": "gradvac"}, {"pairs": "separate", "shared_layers": [{"tasks": PAIRS}]}),
    "MLM": ({"objective": "mlm"}, {}),
    "MLM of concatenated pairs": ({"objective": "mlm", "mlm": {"pairs": "concatenated", "share": 0.3}}, {}),
    "MLM of one token": ({"objective": "mlm", "mlm": {"share": "one", "always_mask": True}}, {}),
    "MLM of rare tokens": ({"objective": "mlm", "mlm": {"share": 0.02}}, {}),
}
"""Settings of the stage, and of the config."""


@pytest.mark.parametrize("accumulate", [2, 3, 20])
@pytest.mark.parametrize("name", ACCUMULATED)
def test_micro_batches_of_equal_and_unequal_sizes_add_up_to_one_large_batch(trainer, name, accumulate):
    stage, changes = ACCUMULATED[name]
    after = [small_stage()] if "objective" in stage else []
    config = small_config(small_stage(**stage), *after, **NO_DROPOUT, **changes)
    large, small = first_step(config, trainer), first_step(config, trainer)
    rows = {"sst": numbers(8), "qqp": numbers(7), "sts": numbers(2)}
    whole = gradients(large, rows)
    assert worst_difference(whole, gradients(small, rows, small_stage(**stage, accumulate=accumulate))) < 1e-6
    losses = [
        training.step_gradients(small_stage(**stage, accumulate=count)).accumulate(rows).losses
        for training, count in ((large, 1), (small, accumulate))
    ]
    assert losses[0].keys() == losses[1].keys()
    torch.testing.assert_close(losses[1], losses[0])


def test_every_objective_is_accumulated_or_refuses_it():
    """SimCSE's loss depends on all rows of a forward pass, and its config refuses to split them."""
    tested = {stage.get("objective", "supervised") for stage, _ in ACCUMULATED.values()}
    assert tested | {"simcse"} == OBJECTIVES.keys()


def test_micro_batches_have_different_dropout_masks(trainer):
    training, forward_passes = first_step(small_config(small_stage(accumulate=2), **HIGH_DROPOUT), trainer), []
    training.model.register_forward_hook(lambda model, arguments, outputs: forward_passes.append(outputs["sst"]))
    gradients(training, {"sst": np.concatenate([numbers(4), numbers(4)])})
    assert len(forward_passes) == 2 and not torch.equal(*forward_passes)


@pytest.mark.parametrize("surgery", OURS)
def test_surgery_on_micro_batches_equals_surgery_on_one_large_batch(trainer, surgery):
    config = small_config(small_stage(surgery=surgery), **NO_DROPOUT, bregman={"mu": 1.0})
    whole, parts = first_step(config, trainer), first_step(config, trainer)
    plain: list[float] = []
    for step in range(4):  # GradVac has a memory
        whole.step = parts.step = step
        rows = {"sst": numbers(8) + 8 * step, "qqp": numbers(7) + 8 * step, "sts": numbers(8) + 8 * step}
        large = gradients(whole, rows)
        small = gradients(parts, rows, small_stage(surgery=surgery, accumulate=3))
        assert worst_difference(large, small) < 1e-6
        plain.append(worst_difference(large, gradients(whole, rows, small_stage())))
    assert surgery == "sum" or max(plain) > 1e-3, "no gradients conflict, so the test compares nothing"


def test_with_smart_on_a_share_of_the_rows_the_own_loss_is_the_mean_over_all_rows(trainer):
    config = small_config(**NO_DROPOUT, class_weights={"sst": (1, 2, 3, 4, 5)})
    (stage,) = config.stages
    plain = first_step(config, trainer).step_gradients(stage).accumulate(rows_of("sst")).losses
    for share in (0.25, 1.0):
        shared = config.replace(smart=SMOOTH.replace(share=share))
        measured = first_step(shared, trainer).step_gradients(stage).accumulate(rows_of("sst")).losses
        torch.testing.assert_close(measured["sst.loss"], plain["sst.loss"])
        alone = config.replace(smart=SMOOTH)
        some = rows_of("sst", count=round(8 * share))
        expected = first_step(alone, trainer).step_gradients(stage).accumulate(some).losses
        torch.testing.assert_close(measured["sst.smart"], expected["sst.smart"])


def test_settings_by_task_have_the_gradients_of_each_task_alone(trainer):
    """Compare at dropout 0. The noise of SMART depends on the number of the group, which is the same on both sides."""
    by_task = {"sst": SMOOTH.replace(lambda_s=2.0), "qqp": SMOOTH.replace(norm="linf", radius=1e-3, step_size=1e-3)}
    config = small_config(**NO_DROPOUT, smart=by_task, bregman={"mu": {"sts": 3.0}})
    together = first_step(config, trainer)
    found = gradients(together, rows_of(*TASKS))
    settings = ({"smart": by_task["sst"]}, {"smart": by_task["qqp"]}, {"bregman": {"mu": 3.0}})
    alone = first_step(small_config(**NO_DROPOUT, **settings[2]), trainer)
    for parameter in alone.model.parameters():
        parameter.grad = None
    for place, (task, setting) in enumerate(zip(TASKS, settings, strict=True)):
        alone.config = small_config(**NO_DROPOUT, **setting)
        stage = alone.config.stages[0]
        (group,) = split_step(rows_of(task), alone.config, stage, 0)
        step_gradients = alone.step_gradients(stage)
        (batch,) = step_gradients.batches(group)
        supervised(step_gradients.forward(group, place, batch))[task].total.backward()
    expected = copies(alone)
    assert worst_difference(found, expected) < 1e-6
    plain = gradients(first_step(small_config(**NO_DROPOUT), trainer), rows_of(*TASKS))
    assert worst_difference(found, plain) > 1e-3, "the settings have no effect, so the test compares nothing"


def test_tasks_with_equal_settings_share_a_forward_pass_and_others_do_not(trainer):
    training, forward_passes = first_step(small_config(smart={"sst": SMOOTH}), trainer), []
    training.model.register_forward_hook(lambda model, arguments, outputs: forward_passes.append(list(outputs)))
    gradients(training, rows_of(*TASKS))
    assert forward_passes == [["sst"], ["sst"], ["sst"], ["qqp", "sts"]]
    forward_passes.clear()
    training = first_step(small_config(), trainer)
    training.model.register_forward_hook(lambda model, arguments, outputs: forward_passes.append(list(outputs)))
    gradients(training, rows_of(*TASKS))
    assert forward_passes == [list(TASKS)]
