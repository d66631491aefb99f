"""Test AdamW's step, and the learning rate from the first step to the last."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainers.training.optimizer import adamw, layer_scales, set_learning_rate, warmup_then_decay

STEPS = st.integers(1, 3000)
WARMUPS = st.floats(0, 1, exclude_max=True)
SETTINGS = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
STARTING = """
import sys
import torch
from model.encoder import build_encoder
from model.pretrained import read_pretrained
from trainers.training.optimizer import adamw
encoder = build_encoder(read_pretrained(sys.argv[1]), 0.1, 0.1)
optimizer = adamw([(encoder.parameters(), 1.0)], betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
optimizer.zero_grad()
encoder.pooler.weight.sum().backward()
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


@given(STEPS, WARMUPS)
def test_the_learning_rate_rises_to_its_peak_and_falls_until_the_last_step(steps, warmup):
    factors = [warmup_then_decay(done, steps, warmup) for done in range(steps)]
    rising = round(warmup * steps)
    assert max(factors) == 1
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:rising] == sorted(factors[:rising])
    assert factors[rising:] == sorted(factors[rising:], reverse=True)
    # The next factor would be 0. A stage that consists of warm-up only ends at the peak.
    assert factors[-1] == pytest.approx(1 / max(1, steps - rising))


@given(STEPS)
def test_without_warmup_the_learning_rate_falls_linearly_from_the_first_step(steps):
    factors = [warmup_then_decay(done, steps, 0) for done in range(steps)]
    assert factors == pytest.approx([1 - done / steps for done in range(steps)])


@given(STEPS, WARMUPS)
def test_without_decay_the_learning_rate_stays_at_its_peak(steps, warmup):
    factors = [warmup_then_decay(done, steps, warmup, decay=False) for done in range(steps)]
    rising = round(warmup * steps)
    assert factors[:rising] == [warmup_then_decay(done, steps, warmup) for done in range(rising)]
    assert factors[rising:] == [1.0] * (steps - rising)


@given(st.integers(3, 30), st.floats(0, 1, exclude_min=True))
def test_each_layer_has_decay_times_the_factor_of_the_layer_above_and_the_pooler_has_1(blocks, decay):
    """The blocks are the embeddings, every layer and the pooler."""
    embeddings, *layers, pooler = layer_scales(blocks, decay)
    assert layers[-1] == pooler == 1.0
    below = [embeddings, *layers]
    assert below[:-1] == pytest.approx([decay * above for above in below[1:]])


def test_every_parameter_moves_in_proportion_to_its_learning_rate_factor():
    """Adam's first step has the size of the learning rate, for every gradient."""
    models = [layer() for _ in range(3)]
    before = models[0].weight.clone()
    scales = (1.0, 0.5, 0.0)
    pairs = [(model.parameters(), scale) for model, scale in zip(models, scales, strict=True)]
    optimizer = adamw(pairs, betas=(0.9, 0.999), eps=1e-30, weight_decay=0)
    set_learning_rate(optimizer, 0.1)
    for model in models:
        model(torch.ones(3).double()).sum().backward()
    optimizer.step()
    moved = [(before - model.weight).mean().item() for model in models]
    assert moved == pytest.approx([0.1, 0.05, 0.0])


def test_a_learning_rate_of_0_changes_nothing():
    model = layer()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = adamw([(model.parameters(), 1.0)], **SETTINGS)
    set_learning_rate(optimizer, 0)
    model(torch.ones(3).double()).sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weight_decay_with_a_gradient_of_0_changes_matrices_and_not_vectors():
    model = layer()
    weight, bias = model.weight.clone(), model.bias.clone()
    optimizer = adamw([(model.parameters(), 1.0)], **SETTINGS)
    set_learning_rate(optimizer, 0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(3):
        optimizer.step()
    torch.testing.assert_close(model.weight, weight * (1 - 0.5 * 0.1) ** 3)
    assert torch.equal(model.bias, bias)


def test_parameters_that_no_task_of_the_step_uses_do_not_change():
    model, other = layer(), layer()
    before = other.weight.clone()
    optimizer = adamw([(model.parameters(), 1.0), (other.parameters(), 1.0)], **SETTINGS)
    set_learning_rate(optimizer, 0.5)
    model(torch.ones(3).double()).sum().backward()
    optimizer.step()
    assert torch.equal(other.weight, before), "weight decay changed it"
    assert other.weight not in optimizer.state


def test_a_step_equals_the_course_s_step_after_a_conversion_of_epsilon():
    """The handout adds epsilon to the uncorrected root: eps_torch = eps / sqrt(1 - beta2 ** step)."""
    draw = torch.Generator().manual_seed(0)
    gradients = [torch.randn(4, 3, dtype=torch.float64, generator=draw) * 1e-5 for _ in range(20)]
    ours = nn.Parameter(torch.ones(4, 3, dtype=torch.float64))
    theirs, first, second = torch.ones(4, 3, dtype=torch.float64), 0.0, 0.0
    optimizer = adamw([([ours], 1.0)], betas=(0.9, 0.999), eps=1e-6, weight_decay=0)
    set_learning_rate(optimizer, 0.01)
    for step, gradient in enumerate(gradients, start=1):
        for group in optimizer.param_groups:
            group["eps"] = 1e-6 / math.sqrt(1 - 0.999**step)
        ours.grad = gradient.clone()
        optimizer.step()
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = 0.01 * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        theirs = theirs - rate * first / (second**0.5 + 1e-6)
    worst = float((ours.detach() - theirs).abs().max())
    assert worst < 1e-14, f"differs by {worst:.1e}"


def test_the_optimizer_does_not_load_torch_s_compiler(tiny_encoder):
    """The compiler takes as long to load as torch itself, and training does not use it."""
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", STARTING, tiny_encoder], cwd=root, check=False).returncode == 0
