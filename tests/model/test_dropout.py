"""Dropout: what is lost and what makes up for it, in numbers; and that a CPU's own masks are dropout like any other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from model.dropout import LIVE_MASKS, PROBABILITY_STEPS, Dropout, apply_dropout, mask

COUNT = 200_000


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5, 0.9])
def test_a_mask_drops_its_share_and_its_mean_is_one(probability: float):
    torch.manual_seed(0)
    drawn = mask(torch.Size([COUNT]), probability)
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
    drawn = mask(torch.Size(shape), probability)
    assert drawn.shape == torch.Size(shape) and drawn.dtype == torch.float32
    assert bool(torch.isfinite(drawn).all()) and bool((drawn >= 0).all())


def test_numbers_are_dropped_independently_of_their_neighbours():
    torch.manual_seed(0)
    lost = (mask(torch.Size([COUNT]), 0.5) == 0).double() - 0.5
    for lag in (1, 2, 3, 4, 384):
        assert abs(float((lost[lag:] * lost[:-lag]).mean())) < 5 * 0.25 / COUNT**0.5


def test_masks_follow_the_global_generator():
    torch.manual_seed(1)
    first, second = mask(torch.Size([100]), 0.5), mask(torch.Size([100]), 0.5)
    torch.manual_seed(1)
    again = mask(torch.Size([100]), 0.5)
    torch.manual_seed(2)
    other = mask(torch.Size([100]), 0.5)
    assert torch.equal(first, again) and not torch.equal(first, second) and not torch.equal(first, other)


def seeded(seed: int, probability: float = 0.5) -> Tensor:
    torch.manual_seed(seed)
    return mask(torch.Size([1000]), probability)


def needed() -> set[tuple[int, int, int]]:
    """What is held of masks that something needs."""
    return {key for key, held in LIVE_MASKS.items() if held() is not None}


def test_masks_of_one_draw_are_one_array_while_any_of_them_is_needed():
    values = torch.ones(1000, requires_grad=True)
    graph = (values * seeded(3)).sum()
    kept = needed()
    assert seeded(3).data_ptr() == seeded(3).data_ptr(), "only the graph holds it"
    first, other, fewer = seeded(3), seeded(4), seeded(3, 0.25)
    assert len({held.data_ptr() for held in (first, other, fewer)}) == 3
    assert not torch.equal(first, other) and not torch.equal(first, fewer)
    del first, other, fewer
    assert needed() == kept
    graph.backward()
    assert kept - needed(), "held although nothing needs it"
    fresh = seeded(5)
    assert set(LIVE_MASKS) == needed(), "what is gone is forgotten with the next draw"
    assert fresh.any()


def test_no_python_runs_when_a_mask_goes():
    """A Ctrl-C that arrived there would be printed and forgotten: a backward pass is where a step spends its time."""
    drawn = seeded(6)
    assert drawn.any() and all(held.__callback__ is None for held in LIVE_MASKS.values())


def test_what_is_kept_is_stretched_and_its_gradient_with_it():
    values = torch.ones(3000, requires_grad=True)
    found = apply_dropout(values, 0.25)
    torch.testing.assert_close(found[found != 0].unique(), torch.tensor([4 / 3]))
    found.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, found.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_probability_leaves_everything_as_it_was(dtype: torch.dtype):
    values = torch.randn(100, dtype=dtype)
    assert apply_dropout(values, 0.0) is values
    assert Dropout(0.9).eval()(values) is values
    assert apply_dropout(values, 0.5).dtype == dtype


def test_other_devices_keep_their_own_generator(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(functional, "dropout", lambda values, probability: (values, probability))
    values = torch.empty(8, device="meta")
    assert apply_dropout(values, 0.5) == (values, 0.5)
