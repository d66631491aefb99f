"""Test dropout masks on the CPU: their statistics, their reproducibility, and how draws share arrays."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from model.dropout import LIVE_MASKS, PROBABILITY_STEPS, Dropout, apply_dropout, dropout_mask

COUNT = 200_000


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5, 0.9])
def test_a_mask_drops_the_given_share_and_has_mean_one(probability: float):
    torch.manual_seed(0)
    drawn = dropout_mask(torch.Size([COUNT]), probability)
    error = 5 * (probability * (1 - probability) / COUNT) ** 0.5  # five standard deviations
    assert abs(float((drawn == 0).double().mean()) - probability) < error + 1 / PROBABILITY_STEPS
    assert abs(float(drawn.double().mean()) - 1) < (error + 1 / PROBABILITY_STEPS) / (1 - probability)
    assert len(drawn.unique()) == 2


@settings(max_examples=50, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    probability=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32),
)
def test_a_mask_has_any_shape_and_any_probability_below_one(shape: list[int], probability: float, seed: int):
    torch.manual_seed(seed)
    drawn = dropout_mask(torch.Size(shape), probability)
    assert drawn.shape == torch.Size(shape) and drawn.dtype == torch.float32
    assert bool(torch.isfinite(drawn).all()) and bool((drawn >= 0).all())


def test_elements_are_dropped_independently_of_each_other():
    torch.manual_seed(0)
    dropped = (dropout_mask(torch.Size([COUNT]), 0.5) == 0).double() - 0.5
    for lag in (1, 2, 3, 4, 384):
        assert abs(float((dropped[lag:] * dropped[:-lag]).mean())) < 5 * 0.25 / COUNT**0.5


def test_masks_depend_on_the_global_generator():
    torch.manual_seed(1)
    first, second = dropout_mask(torch.Size([100]), 0.5), dropout_mask(torch.Size([100]), 0.5)
    torch.manual_seed(1)
    again = dropout_mask(torch.Size([100]), 0.5)
    torch.manual_seed(2)
    other = dropout_mask(torch.Size([100]), 0.5)
    assert torch.equal(first, again) and not torch.equal(first, second) and not torch.equal(first, other)


def seeded(seed: int, probability: float = 0.5) -> Tensor:
    torch.manual_seed(seed)
    return dropout_mask(torch.Size([1000]), probability)


def live_keys() -> set[tuple[int, int, int]]:
    """Return the keys of the masks that are still referenced."""
    return {key for key, held in LIVE_MASKS.items() if held() is not None}


def test_equal_draws_share_one_array_while_it_is_in_use():
    values = torch.ones(1000, requires_grad=True)
    graph = (values * seeded(3)).sum()
    kept = live_keys()
    assert seeded(3).data_ptr() == seeded(3).data_ptr(), "only the graph refers to the mask"
    first, other, fewer = seeded(3), seeded(4), seeded(3, 0.25)
    assert len({held.data_ptr() for held in (first, other, fewer)}) == 3
    assert not torch.equal(first, other) and not torch.equal(first, fewer)
    del first, other, fewer
    assert live_keys() == kept
    graph.backward()
    assert kept - live_keys(), "the mask is freed"
    fresh = seeded(5)
    assert set(LIVE_MASKS) == live_keys(), "the next draw removes entries of freed masks"
    assert fresh.any()


def test_no_python_code_runs_when_a_mask_is_freed():
    """Python would print and ignore a KeyboardInterrupt there, and masks are freed during backward passes."""
    drawn = seeded(6)
    assert drawn.any() and all(held.__callback__ is None for held in LIVE_MASKS.values())


def test_kept_elements_and_their_gradients_are_scaled():
    values = torch.ones(3000, requires_grad=True)
    found = apply_dropout(values, 0.25)
    torch.testing.assert_close(found[found != 0].unique(), torch.tensor([4 / 3]))
    found.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, found.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probability_0_and_evaluation_mode_change_nothing(dtype: torch.dtype):
    values = torch.randn(100, dtype=dtype)
    assert apply_dropout(values, 0.0) is values
    assert Dropout(0.9).eval()(values) is values
    assert apply_dropout(values, 0.5).dtype == dtype


def test_other_devices_use_the_dropout_of_torch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(functional, "dropout", lambda values, probability: (values, probability))
    values = torch.empty(8, device="meta")
    assert apply_dropout(values, 0.5) == (values, 0.5)
