"""The gradients of one optimiser step: what surgery makes of them, and that parts add up to it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import small_config, small_stage
from tests.trainers.passes import STILL, WILD, moved
from tests.trainers.small_training import TASKS, Trainer
from trainers.config.train_config import Stage, TrainConfig
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
OURS = [name for name in SURGERIES if name not in WEIGHTINGS]

Gradients = dict[str, Tensor | None]


@pytest.fixture(scope="module")
def trainer(corpus, pretrained) -> Trainer:
    return Trainer(corpus, pretrained)


def step_of(config: TrainConfig, trainer: Trainer) -> Training:
    """A training at its first step, in float64, with a teacher that has stayed behind."""
    training = trainer(config)
    training.model.double()
    if training.teacher:
        training.teacher = moved(training.model)
    return training


def rows_of(*tasks: str, count: int = 8) -> Rows:
    return {task: first(count) for task in tasks}


def first(count: int) -> np.ndarray:
    return np.arange(count)


def gradients(training: Training, rows: Rows, stage: Stage | None = None) -> Gradients:
    """The gradient of each parameter after a backward pass."""
    for parameter in training.model.parameters():
        parameter.grad = None
    step_gradients = training.step_gradients(stage or training.config.stages[0])
    training.surgery_memory = step_gradients.backward(rows).memory
    return copies(training)


def copies(training: Training) -> Gradients:
    """The gradient of each parameter, which the next step may write over."""
    found = {name: parameter.grad for name, parameter in training.model.named_parameters()}
    return {name: None if value is None else value.to_dense().clone() for name, value in found.items()}


def worst_difference(left: Gradients, right: Gradients) -> float:
    """The largest difference, as a share of the largest gradient."""
    assert {name for name, value in left.items() if value is None} == {
        name for name, value in right.items() if value is None
    }
    pairs = [(value, right[name]) for name, value in left.items() if value is not None]
    scale = max(float(value.abs().max()) for value, _ in pairs)
    return max(float((value - other).abs().max()) for value, other in pairs if other is not None) / scale


# Surgery.


@pytest.mark.parametrize("pairs", ["concatenated", "separate"])
@pytest.mark.parametrize("surgery", [name for name in OURS if name != "sum"])
def test_surgery_leaves_every_head_the_gradient_of_its_own_task(trainer, surgery, pairs):
    training = step_of(small_config(small_stage(surgery=surgery), pairs=pairs, **EVERY_REGULARISER), trainer)
    found, summed = gradients(training, rows_of(*TASKS)), gradients(training, rows_of(*TASKS), small_stage())
    heads = {name for name in summed if name.startswith("heads.")}
    assert heads and all(torch.equal(found[name], summed[name]) for name in heads)  # pyright: ignore[reportArgumentType]


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "every regulariser": EVERY_REGULARISER,
    "SMART without dropout, two steps": {"smart": SMOOTH.replace(dropout="off", ascent_steps=2)},
    "separate pairs": {"pairs": "separate"},
    "mean of tokens": {"pooling": "mean"},
}


@pytest.mark.parametrize("trainable_layers", [None, 1, 0])
@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_gradients_that_were_kept_apart_add_up_to_those_of_the_sum(trainer, changes, trainable_layers, monkeypatch):
    monkeypatch.setitem(SURGERIES, "ones", plain_sum)
    stage = {"trainable_layers": trainable_layers, "accumulate": 2}
    training = step_of(small_config(small_stage(surgery="ones", **stage), **WILD, **changes), trainer)
    found = gradients(training, rows_of(*TASKS, count=7))
    summed = gradients(training, rows_of(*TASKS, count=7), small_stage(**stage))
    assert worst_difference(found, summed) < 1e-9


@pytest.mark.parametrize("trainable_layers", [None, 1])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradients_are_kept_apart_in_any_precision(trainer, precision, trainable_layers, monkeypatch):
    monkeypatch.setitem(SURGERIES, "ones", plain_sum)
    stage = small_stage(surgery="ones", trainable_layers=trainable_layers)
    training = trainer(small_config(stage, precision=precision, **EVERY_REGULARISER))
    found, summed = gradients(training, rows_of(*TASKS)), gradients(training, rows_of(*TASKS), small_stage())
    assert worst_difference(found, summed) < {"float32": 1e-5, "bfloat16": 2e-2}[precision]


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS)
def test_a_task_is_given_its_own_gradient_and_no_others(trainer, changes):
    training = step_of(small_config(small_stage(surgery="pcgrad"), **WILD, **changes), trainer)
    stage, shared = training.config.stages[0], training.model.shared_parameters()
    (group,) = split_step(rows_of(*TASKS), training.config, stage, 0)
    step_gradients = training.step_gradients(stage)
    batch = step_gradients.batch(group)
    task_gradients = TaskGradients(shared, TableGradients())
    with TaskGradientMode(task_gradients, batch.inputs):
        losses = step_gradients.group_losses(group, 0, batch)
    torch.stack([loss.total for loss in losses.values()]).sum().backward()
    found = task_gradients.by_task(list(TASKS))
    losses = step_gradients.group_losses(group, 0, batch)
    for task, own in zip(TASKS, found, strict=True):
        expected = torch.autograd.grad(losses[task].total, shared, retain_graph=True, allow_unused=True)
        for parameter, mine, other in zip(shared, own, expected, strict=True):
            if other is None:
                assert mine is None or not mine.any()
            else:
                assert mine is not None
                dense = task_gradients.to_dense(parameter, mine)
                torch.testing.assert_close(dense, other.to_dense(), rtol=1e-9, atol=1e-12)


def drawn(gramian: Tensor, memory: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """A surgery whose every weight is a draw."""
    return torch.rand(len(gramian), dtype=torch.float64, generator=draw), memory + 1


SHARED = {"pairs": "separate", "shared_layers": [{"tasks": ("qqp", "sts")}]}


@pytest.mark.parametrize("changes", [{}, SHARED], ids=["encoder", "shared layer"])
@pytest.mark.parametrize("surgery", [*OURS, "drawn"])
def test_what_is_shared_gets_what_the_surgery_makes_of_the_tasks_gradients(trainer, surgery, changes, monkeypatch):
    monkeypatch.setitem(SURGERIES, "drawn", drawn)
    training = step_of(small_config(small_stage(surgery=surgery), **STILL, **changes), trainer)
    shared = {id(parameter) for parameter in training.model.shared_parameters()}
    names = [name for name, parameter in training.model.named_parameters() if id(parameter) in shared]
    assert any(name.startswith("shared.") for name in names) == bool(changes)
    memory, cut = torch.zeros(3, 3, dtype=torch.float64), 0
    for step in range(4):
        training.step, rows = step, {task: first(8) + 8 * step for task in TASKS}
        of_tasks = [gradients(training, {task: numbers}) for task, numbers in rows.items()]
        alone = [[found[name] for name in names] for found in of_tasks]
        place = generator(training.config.seed, step, "surgery")
        weights, memory = SURGERIES[surgery](gramian(alone), memory, place)
        together = gradients(training, rows)
        for name, expected in zip(names, weighted_sum(alone, weights), strict=True):
            assert (together[name] is None) == (expected is None)
            if expected is not None:
                torch.testing.assert_close(together[name], expected, rtol=1e-9, atol=1e-12)
        cut += int((weights != 1).sum())
    assert surgery == "sum" or cut > 1, "no gradients were in conflict: this proves nothing"
    if surgery in ("drawn", "gradvac"):
        remembered = [[training.surgery_memory[f"{row} {column}"] for column in TASKS] for row in TASKS]
        torch.testing.assert_close(torch.tensor(remembered, dtype=torch.float64), memory)
        assert bool(memory.any())


def test_surgery_remembers_pairs_of_tasks_and_not_of_places(trainer, monkeypatch):
    monkeypatch.setitem(SURGERIES, "drawn", drawn)
    training = step_of(small_config(small_stage(surgery="drawn")), trainer)
    for present in (("sst", "qqp"), ("sts", "sst"), ("sts",)):
        gradients(training, rows_of(*present))
    assert {pair: value for pair, value in training.surgery_memory.items() if "sts" in pair or "qqp" in pair} == {
        "sst qqp": 1, "qqp sst": 1, "qqp qqp": 1, "sts sst": 1, "sst sts": 1, "sts sts": 1,
    }  # fmt: skip
    assert training.surgery_memory["sst sst"] == 2, "a step of one task compares nothing"


# Parts.


ADDING: dict[str, dict[str, Any]] = {
    "plain": {},
    "Bregman": {"bregman": {"mu": {"sst": 1.0, "sts": 2.0}}},
    "R-Drop": {"regularisers": {"r_drop": 1.0}},
    "class weights": {"class_weights": {"sst": (1, 2, 3, 4, 5), "qqp": (1, 3)}},
    "separate pairs": {"pairs": "separate"},
}


@pytest.mark.parametrize("accumulate", [2, 3, 20])
@pytest.mark.parametrize("name", ADDING)
def test_micro_batches_add_up_to_one_large_batch_ragged_or_not(trainer, name, accumulate):
    training = step_of(small_config(**STILL, **ADDING[name]), trainer)
    rows = {"sst": first(8), "qqp": first(7), "sts": first(2)}
    large = gradients(training, rows)
    small = gradients(training, rows, small_stage(accumulate=accumulate))
    assert worst_difference(large, small) < 1e-6


def test_micro_batches_drop_units_of_their_own(trainer):
    training, forward_passes = step_of(small_config(small_stage(accumulate=2), **WILD), trainer), []
    training.model.register_forward_hook(lambda model, arguments, outputs: forward_passes.append(outputs["sst"]))
    gradients(training, {"sst": np.concatenate([first(4), first(4)])})
    assert len(forward_passes) == 2 and not torch.equal(*forward_passes)


@pytest.mark.parametrize("surgery", OURS)
def test_surgery_on_micro_batches_is_surgery_on_one_large_batch(trainer, surgery):
    config = small_config(small_stage(surgery=surgery), **STILL, bregman={"mu": 1.0})
    whole, parts = step_of(config, trainer), step_of(config, trainer)
    plain: list[float] = []
    for step in range(4):  # GradVac remembers
        whole.step = parts.step = step
        rows = {"sst": first(8) + 8 * step, "qqp": first(7) + 8 * step, "sts": first(8) + 8 * step}
        large = gradients(whole, rows)
        small = gradients(parts, rows, small_stage(surgery=surgery, accumulate=3))
        assert worst_difference(large, small) < 1e-6
        plain.append(worst_difference(large, gradients(whole, rows, small_stage())))
    assert surgery == "sum" or max(plain) > 1e-3, "no gradients were in conflict: this proves nothing"


def test_a_share_of_the_rows_is_regularised_for_all_and_the_own_loss_is_that_of_all_rows(trainer):
    config = small_config(**STILL, class_weights={"sst": (1, 2, 3, 4, 5)})
    (stage,) = config.stages
    plain = step_of(config, trainer).step_gradients(stage).accumulate(rows_of("sst")).losses
    for share in (0.25, 1.0):
        shared = config.replace(smart=SMOOTH.replace(share=share))
        measured = step_of(shared, trainer).step_gradients(stage).accumulate(rows_of("sst")).losses
        torch.testing.assert_close(measured["sst.loss"], plain["sst.loss"])
        alone = config.replace(smart=SMOOTH)
        some = rows_of("sst", count=round(8 * share))
        expected = step_of(alone, trainer).step_gradients(stage).accumulate(some).losses
        torch.testing.assert_close(measured["sst.smart"], expected["sst.smart"])


def test_settings_by_task_are_the_settings_of_each_task_alone(trainer):
    """At dropout 0; the noise of SMART's search is drawn by the place of a part, which is told."""
    by_task = {"sst": SMOOTH.replace(lambda_s=2.0), "qqp": SMOOTH.replace(norm="linf", radius=1e-3, step_size=1e-3)}
    config = small_config(**STILL, smart=by_task, bregman={"mu": {"sts": 3.0}})
    together = step_of(config, trainer)
    found = gradients(together, rows_of(*TASKS))
    settings = ({"smart": by_task["sst"]}, {"smart": by_task["qqp"]}, {"bregman": {"mu": 3.0}})
    alone = step_of(small_config(**STILL, **settings[2]), trainer)
    for parameter in alone.model.parameters():
        parameter.grad = None
    for place, (task, setting) in enumerate(zip(TASKS, settings, strict=True)):
        alone.config = small_config(**STILL, **setting)
        stage = alone.config.stages[0]
        (group,) = split_step(rows_of(task), alone.config, stage, 0)
        step_gradients = alone.step_gradients(stage)
        step_gradients.group_losses(group, place, step_gradients.batch(group))[task].total.backward()
    expected = copies(alone)
    assert worst_difference(found, expected) < 1e-6
    plain = gradients(step_of(small_config(**STILL), trainer), rows_of(*TASKS))
    assert worst_difference(found, plain) > 1e-3, "no setting did anything: this proves nothing"


def test_tasks_under_equal_settings_pass_together_and_others_apart(trainer):
    training, forward_passes = step_of(small_config(smart={"sst": SMOOTH}), trainer), []
    training.model.register_forward_hook(lambda model, arguments, outputs: forward_passes.append(list(outputs)))
    gradients(training, rows_of(*TASKS))
    assert forward_passes == [["sst"], ["sst"], ["sst"], ["qqp", "sts"]]
    forward_passes.clear()
    training = step_of(small_config(), trainer)
    training.model.register_forward_hook(lambda model, arguments, outputs: forward_passes.append(list(outputs)))
    gradients(training, rows_of(*TASKS))
    assert forward_passes == [list(TASKS)]
