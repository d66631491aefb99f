"""Every head and every pair feature keeps the promises of its registry."""

import pytest
import torch

from model.heads import HEADS, PAIR_FEATURES, u_v_difference


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("outputs", [1, 5])
def test_a_head_turns_features_into_as_many_outputs_as_it_was_asked_for(head: str, outputs: int):
    assert HEADS[head](12, outputs, 0.1, 0.0)(torch.randn(4, 12)).shape == (4, outputs)


@pytest.mark.parametrize("head", HEADS)
def test_a_head_treats_each_row_by_itself(head: str):
    module, features = HEADS[head](12, 5, 0.1, 0.0).eval(), torch.randn(4, 12)
    torch.testing.assert_close(module(features)[2:3], module(features[2:3]))


@pytest.mark.parametrize("head", HEADS)
def test_without_dropout_a_head_in_training_equals_itself_in_evaluation(head: str):
    module, features = HEADS[head](12, 5, 0.0, 0.0), torch.randn(4, 12)
    assert torch.equal(module.train()(features), module.eval()(features))


@pytest.mark.parametrize("head", HEADS)
def test_dropout_reaches_a_head_in_training_alone(head: str):
    module, features = HEADS[head](12, 5, 0.5, 0.0), torch.randn(4, 12)
    assert torch.equal(module.eval()(features), module(features))
    module.train()
    assert not torch.equal(module(features), module(features))


@pytest.mark.parametrize("head", HEADS)
def test_equal_seeds_start_equal_heads(head: str):
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(HEADS[head](12, 5, 0.1, 0.0).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_linear_heads_outputs_start_near_what_it_was_told():
    torch.manual_seed(0)
    _, layer = HEADS["linear"](400, 50, 0.1, 2.5).children()
    assert isinstance(layer, torch.nn.Linear)
    assert (layer.bias == 2.5).all()
    assert abs(layer.weight.std().item() - 0.02) < 0.001


@pytest.mark.parametrize("name", PAIR_FEATURES)
def test_pair_features_have_the_width_they_state(name: str):
    u, v = torch.randn(2, 4, 12)
    assert PAIR_FEATURES[name].function(u, v).shape == (4, 12 * PAIR_FEATURES[name].width)


@pytest.mark.parametrize("name", PAIR_FEATURES)
def test_pair_features_treat_each_row_by_itself(name: str):
    u, v = torch.randn(2, 4, 12)
    features = PAIR_FEATURES[name].function
    assert torch.equal(features(u, v)[1:2], features(u[1:2], v[1:2]))


def test_the_difference_does_not_know_which_side_is_first():
    u, v = torch.randn(2, 4, 12)
    assert torch.equal(u_v_difference(u, v)[:, 24:], u_v_difference(v, u)[:, 24:])
    assert not u_v_difference(u, u)[:, 24:].any()
