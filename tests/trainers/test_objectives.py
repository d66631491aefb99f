"""Objectives: a task's loss, what SMART adds to it, and that nothing else changes."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from model.multitask import Multitask
from model.weights import Pretrained
from tests.conftest import small_config, small_stage
from trainers.batching import inputs, labels
from trainers.data import Corpus
from trainers.objectives import LOSSES, OBJECTIVES, Batch, Loss, supervised
from trainers.smart import SmartConfig
from trainers.tasks import TASKS
from trainers.train import build

SMOOTH = SmartConfig(lambda_s=1.0)
LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=8)
PLACE = (3, "sst")

every_pairs = pytest.mark.parametrize("pairs", ["concatenated", "separate"])
every_task = pytest.mark.parametrize("task", TASKS)


@dataclass
class Case:
    """A model of all tasks in training mode, and rows for it."""

    corpus: Corpus
    pretrained: Pretrained

    def model(self, **changes: Any) -> Multitask:
        return build(small_config(small_stage(tasks=tuple(TASKS)), **changes), self.pretrained).train()

    def batch(self, *tasks: str, count: int = 5, pairs: str = "concatenated") -> Batch:
        rows = {task: torch.arange(count).numpy() for task in tasks}
        return Batch(inputs(self.corpus, "train", rows, pairs, 512), labels(self.corpus, "train", rows))


@pytest.fixture
def case(corpus, pretrained) -> Case:
    return Case(corpus, pretrained)


def gradients(model: Multitask, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of every parameter that the loss uses."""
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, retain_graph=True)
    names = [name for name, _ in model.named_parameters()]
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


def total(losses: dict[str, Loss]) -> Tensor:
    return torch.stack([loss.total for loss in losses.values()]).sum()


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_is_a_mean_over_rows(kind):
    outputs = torch.randn(6, 5 if kind == "classification" else 1)
    truth = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    twice = LOSSES[kind](outputs.repeat(2, 1), truth.repeat(2))
    one_by_one = torch.stack([LOSSES[kind](outputs[[row]], truth[[row]]) for row in range(6)])
    torch.testing.assert_close(twice, LOSSES[kind](outputs, truth))
    torch.testing.assert_close(one_by_one.mean(), twice)


@given(LOGITS)
def test_one_logit_is_the_second_of_two_classes_whose_other_logit_is_0(logits):
    z = torch.tensor(logits, dtype=torch.float64)[:, None]
    truth = (torch.arange(len(logits)) % 2).double()
    two = functional.cross_entropy(functional.pad(z, (1, 0)), truth.long())
    torch.testing.assert_close(LOSSES["binary"](z, truth), two)


def test_losses_worked_out_by_hand():
    outputs, truth = torch.tensor([[1.0], [4.5]]), torch.tensor([2.5, 4.0])
    assert LOSSES["regression"](outputs, truth) == pytest.approx((1.5**2 + 0.5**2) / 2), "in label units"
    assert LOSSES["classification"](torch.zeros(3, 5), torch.tensor([0.0, 4.0, 2.0])) == pytest.approx(1.609438)
    assert LOSSES["binary"](torch.zeros(2, 1), torch.tensor([0.0, 1.0])) == pytest.approx(0.693147)


@every_pairs
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_task_of_a_batch_gets_a_loss_with_a_graph_and_every_grad_is_left_alone(name, pairs, case):
    model, batch = case.model(pairs=pairs), case.batch("sts", "sst", "cfimdb", pairs=pairs)
    losses = OBJECTIVES[name](model, batch, SMOOTH, 0, PLACE)
    assert list(losses) == ["sts", "sst", "cfimdb"]
    for task, loss in losses.items():
        used = gradients(model, loss.total)
        assert any(name.startswith("encoder.") for name in used)
        assert {name.split(".")[1] for name in used if name.startswith("heads.")} == {task}
        assert torch.isfinite(loss.total)
        assert not any(part.requires_grad for part in loss.parts.values())
    assert all(parameter.grad is None for parameter in model.parameters())


@every_pairs
def test_tasks_that_share_a_batch_have_the_losses_of_each_alone(case, pairs):
    model = case.model(pairs=pairs, dropout=0, attention_dropout=0, head_dropout=0)
    tasks = ("sst", "qqp", "sts")
    together = supervised(model, case.batch(*tasks, pairs=pairs), SmartConfig(), 0, PLACE)
    for task in tasks:
        alone = supervised(model, case.batch(task, pairs=pairs), SmartConfig(), 0, PLACE)[task]
        torch.testing.assert_close(together[task].total, alone.total)


@pytest.mark.parametrize("smart", [SmartConfig(), SMOOTH], ids=["plain", "smart"])
def test_a_place_draws_the_same_whatever_was_drawn_before(case, smart):
    model, batch = case.model(), case.batch("sst", "sts")

    def measure(seed: int, *place: int | str) -> tuple[Tensor, dict[str, Tensor]]:
        torch.rand(7)
        loss = total(OBJECTIVES["supervised"](model, batch, smart, seed, place))
        return loss, gradients(model, loss)

    (loss, gradient), (again, same) = measure(0, 3), measure(0, 3)
    assert torch.equal(loss, again)
    assert all(torch.equal(gradient[name], same[name]) for name in gradient)
    assert not torch.equal(loss, measure(0, 4)[0])
    assert not torch.equal(loss, measure(1, 3)[0])


def test_without_lambda_smart_is_the_plain_loss_to_the_bit_and_costs_no_pass(case):
    model, batch, passes = case.model(), case.batch("sst", "qqp", "sts"), []
    model.register_forward_hook(lambda *arguments: passes.append(1))
    plain = supervised(model, batch, SmartConfig(), 0, PLACE)
    off = supervised(model, batch, SMOOTH.replace(lambda_s=0.0, radius=1.0, ascent_steps=3), 0, PLACE)
    assert len(passes) == 2
    left, right = gradients(model, total(plain)), gradients(model, total(off))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    supervised(model, batch, SMOOTH.replace(ascent_steps=3), 0, PLACE)
    assert len(passes) == 2 + 1 + 3 + 1


@every_pairs
@every_task
def test_smart_keeps_the_masks_of_the_plain_loss_and_adds_a_gradient_of_its_own(case, task, pairs):
    model, batch = case.model(pairs=pairs), case.batch(task, pairs=pairs)
    plain = supervised(model, batch, SmartConfig(), 0, PLACE)[task]
    smooth = supervised(model, batch, SMOOTH, 0, PLACE)[task]
    assert torch.equal(smooth.parts["loss"], plain.parts["loss"])
    assert smooth.parts["smoothness"] > 0
    torch.testing.assert_close(smooth.total, plain.total + smooth.parts["smoothness"])
    before, after = gradients(model, plain.total), gradients(model, smooth.total)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "heads"}


@every_task
def test_smoothness_is_weighted_by_lambda(case, task):
    model, batch = case.model(), case.batch(task)
    plain = gradients(model, supervised(model, batch, SmartConfig(), 0, PLACE)[task].total)
    one, three = (
        gradients(model, supervised(model, batch, SMOOTH.replace(lambda_s=weight), 0, PLACE)[task].total)
        for weight in (1.0, 3.0)
    )
    name = "encoder.layers.0.query.weight"
    torch.testing.assert_close(three[name] - plain[name], 3 * (one[name] - plain[name]), rtol=1e-3, atol=1e-6)


def test_dropout_by_itself_is_not_taken_for_roughness(case):
    model = case.model(dropout=0.5, attention_dropout=0.5, head_dropout=0.5)
    tiny = SMOOTH.replace(radius=1e-12, step_size=1e-12, noise_scale=1e-12)
    losses = supervised(model, case.batch("sst", "qqp", "sts"), tiny, 0, PLACE)
    assert all(loss.parts["smoothness"] < 1e-9 for loss in losses.values()), "what is left would be dropout"
