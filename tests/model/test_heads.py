"""Test pair features, activations and outputs, and every head that combines them."""

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from model.heads import (
    ACTIVATIONS,
    OUTPUTS,
    PAIR_FEATURES,
    Stairs,
    build_head,
    build_shared_layer,
    cosine,
    hadamard,
    relational,
    u_v_difference,
)

WIDTH, LOW, HIGH = 12, 0.0, 5.0
PLAIN: dict[str, Any] = {"low": LOW, "high": HIGH, "initial_output": 0.0, "dropout": 0.1}
ONE_FEATURE = [name for name, pair in PAIR_FEATURES.items() if pair.width(WIDTH) == 1]

every_feature = pytest.mark.parametrize("name", PAIR_FEATURES)
every_head = pytest.mark.parametrize(
    ("features", "activation", "output"),
    [
        (features, activation, output)
        for features in PAIR_FEATURES
        for activation in ACTIVATIONS
        for output in OUTPUTS
        if output != "cosine" or features in ONE_FEATURE
    ],
)


def sides(rows: int = 6) -> tuple[Tensor, Tensor]:
    u, v = torch.randn(2, rows, WIDTH, generator=torch.Generator().manual_seed(0))
    return u, v


def head_of(features: str, activation: str, output: str, **changes: Any) -> nn.Module:
    """Build a head with two hidden layers above a pair's features."""
    torch.manual_seed(1)
    settings = {**PLAIN, "hidden": (16, 3), "activation": activation, "output": output, **changes}
    return build_head(PAIR_FEATURES[features].width(WIDTH), 1, **settings)


# All entries of the registries.


@every_head
def test_outputs_are_finite_and_every_parameter_and_side_has_a_gradient(features, activation, output):
    head, (u, v) = head_of(features, activation, output, initial_output=2.3), sides()
    for parameter in head.parameters():  # larger than the initial weights, with which a hidden layer may output zeros
        nn.init.normal_(parameter, mean=0.05, std=0.2)
    leaves = [*head.parameters(), u.requires_grad_(), v.requires_grad_()]
    outputs = head.eval()(PAIR_FEATURES[features].function(u, v))
    assert outputs.shape == (6, 1) and outputs.isfinite().all()
    for gradient in torch.autograd.grad(outputs.sum(), leaves):
        assert gradient.isfinite().all() and gradient.any()


@every_head
def test_initial_weights_depend_on_torchs_global_generator_only(features, activation, output):
    random.seed(0)
    np.random.seed(0)
    first = head_of(features, activation, output).state_dict()
    random.seed(9)
    np.random.seed(9)
    again = head_of(features, activation, output).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    torch.manual_seed(2)
    other = build_head(
        PAIR_FEATURES[features].width(WIDTH), 1, **PLAIN, hidden=(16, 3), activation=activation, output=output
    ).state_dict()
    drawn = [name for name in first if name.endswith("weight")]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


@every_head
def test_a_heads_outputs_of_a_row_do_not_depend_on_other_rows(features, activation, output):
    head, joined = head_of(features, activation, output).eval(), PAIR_FEATURES[features].function(*sides())
    torch.testing.assert_close(head(joined)[2:3], head(joined[2:3]))


@every_head
def test_without_dropout_a_head_in_training_mode_equals_evaluation_mode(features, activation, output):
    head, joined = head_of(features, activation, output, dropout=0.0), PAIR_FEATURES[features].function(*sides())
    assert torch.equal(head.train()(joined), head.eval()(joined))


# Heads.


@pytest.mark.parametrize("hidden", [(), (16,), (16, 3)])
def test_dropout_precedes_every_linear_layer_and_acts_in_training_mode_only(hidden):
    head, features = build_head(WIDTH, 5, **{**PLAIN, "dropout": 0.5}, hidden=hidden), torch.randn(6, WIDTH)
    kinds = [type(layer).__name__ for layer in head.children()]
    assert [kinds[place - 1] for place, kind in enumerate(kinds) if kind == "Linear"] == ["Dropout"] * (1 + len(hidden))
    assert torch.equal(head.eval()(features), head(features))
    head.train()
    assert not torch.equal(head(features), head(features))


@pytest.mark.parametrize("outputs", [1, 5])
def test_a_head_has_the_requested_layer_widths(outputs):
    layers = [
        layer for layer in build_head(WIDTH, outputs, **PLAIN, hidden=(16, 3)).modules() if isinstance(layer, nn.Linear)
    ]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(WIDTH, 16), (16, 3), (3, outputs)]


def test_initial_weights_are_small_and_the_last_bias_is_the_initial_output():
    torch.manual_seed(0)
    head = build_head(400, 50, **{**PLAIN, "initial_output": 2.5}, hidden=(300,))
    first, last = (layer for layer in head.modules() if isinstance(layer, nn.Linear))
    assert not first.bias.any() and (last.bias == 2.5).all()
    assert all(abs(layer.weight.std().item() - 0.02) < 0.001 for layer in (first, last))


@pytest.mark.parametrize("output", ["linear", "sigmoid", "stairs"])
def test_an_untrained_head_returns_its_initial_output(output):
    head = build_head(WIDTH, 1, **{**PLAIN, "initial_output": 2.5}, output=output).eval()
    torch.testing.assert_close(head(torch.zeros(3, WIDTH)), torch.full((3, 1), 2.5))


def test_a_cosine_feature_is_mapped_to_label_units_before_the_layers():
    torch.manual_seed(1)
    head, features = build_head(3, 1, **PLAIN, cosine=True).eval(), torch.tensor([[0.2, 0.3, -0.5]])
    (layer,) = (layer for layer in head.modules() if isinstance(layer, nn.Linear))
    torch.testing.assert_close(head(features), layer(torch.tensor([[0.2, 0.3, 1.25]])))  # 5 * (-.5 + 1) / 2


def test_a_shared_layer_is_dropout_a_linear_map_and_an_activation():
    torch.manual_seed(0)
    layer, features = build_shared_layer(WIDTH, 7, activation="leaky_relu", dropout=0.5), torch.randn(4, WIDTH)
    assert not torch.equal(layer.train()(features), layer(features))
    linear = layer.get_submodule("1")
    assert isinstance(linear, nn.Linear)
    raw = linear(features)
    torch.testing.assert_close(layer.eval()(features), raw.clamp(min=0) + 0.01 * raw.clamp(max=0))


# Outputs.


@given(st.floats(-80, 80))
def test_a_scaled_sigmoid_stays_in_the_label_range(number):
    value = OUTPUTS["sigmoid"](LOW, HIGH)(torch.tensor([[number]], dtype=torch.float64))
    assert LOW < value.item() < HIGH or abs(number) > 30
    assert LOW <= value.item() <= HIGH


@pytest.mark.parametrize(("angle", "value"), [(-1.0, 1.0), (0.0, 2.0), (0.5, 2.5), (1.0, 3.0)])
def test_a_cosine_head_maps_the_cosine_to_the_label_range(angle, value):
    head = build_head(1, 1, **{**PLAIN, "low": 1.0, "high": 3.0}, output="cosine")
    assert head(torch.tensor([[angle]])).item() == value
    assert not list(head.parameters())


def test_stairs_are_increasing_and_flatter_at_integers():
    stairs, values = Stairs().double(), torch.linspace(-1, 6, 7001, dtype=torch.float64)[:, None]
    assert stairs.steepness.sigmoid() == 0.5
    for steepness in (-3.0, 0.0, 3.0):
        nn.init.constant_(stairs.steepness, steepness)
        assert (stairs(values).diff(dim=0) > 0).all()
    nn.init.zeros_(stairs.steepness)
    whole = torch.arange(6, dtype=torch.float64)[:, None]
    torch.testing.assert_close(stairs(whole), whole)
    near, between = (stairs(whole + place + 1e-4) - stairs(whole + place) for place in (0.0, 0.5))
    torch.testing.assert_close(near / 1e-4, torch.full_like(near, 0.5), rtol=1e-5, atol=0)
    torch.testing.assert_close(between / 1e-4, torch.full_like(near, 1.5), rtol=1e-5, atol=0)
    quarter = torch.tensor([[0.25]], dtype=torch.float64)
    assert stairs(quarter).item() == pytest.approx(0.25 - 0.5 / (2 * math.pi))


# Pair features.


@every_feature
def test_pair_features_have_the_width_they_state(name):
    assert PAIR_FEATURES[name].function(*sides(4)).shape == (4, PAIR_FEATURES[name].width(WIDTH))


@every_feature
def test_pair_features_of_a_row_do_not_depend_on_other_rows(name):
    (u, v), features = sides(), PAIR_FEATURES[name].function
    torch.testing.assert_close(features(u, v)[1:2], features(u[1:2], v[1:2]))


@every_feature
def test_pair_features_of_equal_sides_and_of_zeros_have_a_finite_gradient(name):
    for side in (sides()[0], torch.zeros(6, WIDTH)):
        u, v = side.clone().requires_grad_(), side.clone().requires_grad_()
        PAIR_FEATURES[name].function(u, v).sum().backward()
        assert u.grad is not None and u.grad.isfinite().all()


@pytest.mark.parametrize("function", [hadamard, cosine, lambda u, v: u_v_difference(u, v)[:, 2 * WIDTH :]])
def test_features_that_compare_the_sides_are_symmetric(function):
    u, v = sides()
    assert torch.equal(function(u, v), function(v, u))


def test_the_cosine_equals_torchs_and_the_sum_of_its_summands():
    u, v = sides()
    torch.testing.assert_close(cosine(u, v)[:, 0], functional.cosine_similarity(u, v), rtol=0, atol=1e-6)
    torch.testing.assert_close(hadamard(u, v).sum(dim=-1, keepdim=True), cosine(u, v), rtol=0, atol=1e-6)


def test_equal_sides_have_cosine_1_and_difference_0():
    u, _ = sides()
    torch.testing.assert_close(cosine(u, u), torch.ones(6, 1), rtol=0, atol=1e-6)
    torch.testing.assert_close(cosine(u, -3 * u), -torch.ones(6, 1), rtol=0, atol=1e-6)
    assert not u_v_difference(u, u)[:, 2 * WIDTH :].any()


def test_the_cosine_of_bfloat16_sides_is_computed_in_float32():
    u, v = (side.bfloat16() for side in sides())
    assert cosine(u, v).dtype == torch.float32
    torch.testing.assert_close(cosine(u, v), cosine(u.float(), v.float()), rtol=0, atol=0)


def test_relational_features_are_the_sides_their_difference_and_the_summands_of_the_cosine():
    u, v = torch.tensor([[3.0, 0.0]]), torch.tensor([[4.0, 3.0]])
    torch.testing.assert_close(relational(u, v), torch.tensor([[3.0, 0, 4, 3, 1, 3, 0.8, 0]]))
