"""Test averaged weights against closed forms and torch's implementation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainers.methods.averaging import AveragingConfig, average_share, follow

SWA = AveragingConfig(kind="swa")


def layer(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def walk(model: nn.Linear, step: int) -> None:
    """Change a model's weights like an optimiser step; the change depends on the step only."""
    draw = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=draw)


def weights(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def fill(model: nn.Linear, value: float) -> nn.Linear:
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 1.0])
def test_a_copy_moves_a_share_of_the_distance_in_every_parameter_and_its_model_stays(share):
    copy, model = layer(0), layer(1)
    before, target = weights(copy), weights(model)
    follow(copy, model, share)
    torch.testing.assert_close(weights(copy), (1 - share) * before + share * target)
    assert torch.equal(weights(model), target)
    assert share != 0 or torch.equal(weights(copy), before), "a share of 0 changes no bit"
    assert share != 1 or torch.equal(weights(copy), target), "a share of 1 copies the model exactly"
    assert all(parameter.grad_fn is None and parameter.grad is None for parameter in copy.parameters())


def test_a_small_share_of_a_short_distance_is_not_lost_to_rounding():
    copy = fill(layer(), 1.0)
    for _ in range(100):
        follow(copy, fill(layer(), 1.1), 0.001)
    torch.testing.assert_close(weights(copy), torch.full((8,), 1.1 - 0.1 * 0.999**100))  # in bfloat16 it stays at 1


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_a_moving_average_soon_forgets_the_initial_weights(steps):
    """The product of (1 + t) / (10 + t) telescopes."""
    averaging, copy, model = AveragingConfig(kind="ema"), fill(layer(), 1.0), fill(layer(), 0.0)
    for done in range(steps):
        follow(copy, model, average_share(averaging, done, steps))
    torch.testing.assert_close(weights(copy), torch.full((8,), 1 / math.comb(steps + 9, 9)), rtol=1e-4, atol=0)


def test_a_moving_average_never_keeps_more_than_beta():
    ema = AveragingConfig(kind="ema", beta=0.9)
    assert [average_share(ema, done, 1000) for done in (0, 8, 79, 80, 81, 999)] == pytest.approx(
        [0.9, 0.5, 9 / 89, 0.1, 0.1, 0.1]
    )


def test_a_moving_average_equals_torch_s():
    averaging, model, copy = AveragingConfig(kind="ema", beta=0.1), layer(), layer()
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.1))
    theirs.n_averaged += 1  # torch copies the weights in the first update; skip that
    for done in range(10):
        walk(model, done)
        follow(copy, model, average_share(averaging, done, 10))
        theirs.update_parameters(model)
        torch.testing.assert_close(weights(copy), weights(theirs.module))


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 21])
def test_stochastic_weight_averaging_equals_torch_s_over_the_last_quarter(steps):
    model, copy, tail = layer(), layer(), math.ceil(steps / 4)
    theirs = AveragedModel(model)
    for done in range(steps):
        walk(model, done)
        follow(copy, model, average_share(SWA, done, steps))
        if done >= steps - tail:
            theirs.update_parameters(model)
        else:
            assert torch.equal(weights(copy), weights(model)), "the average is the weights themselves"
    assert int(theirs.n_averaged) == tail
    torch.testing.assert_close(weights(copy), weights(theirs.module))


@given(st.integers(1, 500), st.sampled_from(["ema", "swa"]), st.floats(0, 1, exclude_max=True))
def test_an_average_moves_towards_the_weights_and_never_past_them(steps, kind, beta):
    averaging = AveragingConfig(kind=kind, beta=beta)
    shares = [average_share(averaging, done, steps) for done in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    assert shares == sorted(shares, reverse=True)
