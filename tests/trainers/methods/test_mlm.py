"""Test choosing and masking tokens."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from trainers.methods.mlm import choose_tokens, mask_tokens

MASK, VOCABULARY = 4, 50
SEQUENCES, LENGTH = 5000, 22

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=12)
"""Number of text tokens in each sequence, beside its two special tokens."""


def offsets(lengths: list[int]) -> Tensor:
    return functional.pad(torch.tensor(lengths).cumsum(0), (1, 0))


def framed(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Return the text mask and the offsets of sequences that begin and end with a special token."""
    text = torch.cat([torch.tensor([False, *[True] * length, False]) for length in lengths])
    return text, offsets([length + 2 for length in lengths])


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within_three_sigma(found: int, count: int, share: float) -> bool:
    return abs(found - count * share) < 3 * math.sqrt(count * share * (1 - share))


@given(LENGTHS, st.just("one") | st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(0, 2**32))
def test_special_tokens_are_never_chosen_and_positions_ascend(lengths, share, seed):
    text, ends = framed(lengths)
    chosen = choose_tokens(text, ends, share, draw(seed))
    assert bool(text[chosen].all())
    assert bool((chosen.diff() > 0).all())
    assert torch.equal(chosen, choose_tokens(text, ends, share, draw(seed)))


@given(LENGTHS, st.integers(0, 2**32))
def test_exactly_one_token_of_every_sequence_with_text_is_chosen(lengths, seed):
    text, ends = framed(lengths)
    chosen = choose_tokens(text, ends, "one", draw(seed))
    of_sequence = torch.bincount(torch.bucketize(chosen, ends, right=True) - 1, minlength=len(lengths))
    assert of_sequence.tolist() == [int(length > 0) for length in lengths]


def test_every_token_of_a_sequence_is_chosen_equally_often():
    text, ends = framed([4] * SEQUENCES)
    counts = torch.bincount(choose_tokens(text, ends, "one", draw()) % 6, minlength=6).tolist()
    assert counts[0] == counts[5] == 0
    assert all(within_three_sigma(count, SEQUENCES, 1 / 4) for count in counts[1:5]), counts


def test_the_share_refers_to_text_tokens_and_not_to_all_tokens():
    text, ends = framed([LENGTH - 2] * SEQUENCES)
    assert int(text.sum()) == 100_000
    found = len(choose_tokens(text, ends, 0.15, draw()))
    assert within_three_sigma(found, 100_000, 0.15), found


def test_most_chosen_tokens_become_the_mask_some_become_random_tokens_and_some_stay():
    count = 100_000
    tokens = torch.randint(5, VOCABULARY, (count,), generator=draw(1))
    shown = mask_tokens(tokens, torch.arange(count), MASK, VOCABULARY, False, draw())
    masked, changed = shown == MASK, (shown != tokens) & (shown != MASK)
    # A random token is the mask token, or the original token, with probability 1 / vocabulary size each.
    share = 0.1 / VOCABULARY
    assert within_three_sigma(int(masked.sum()), count, 0.8 + share)
    assert within_three_sigma(int(changed.sum()), count, 0.1 - 2 * share)
    others = torch.bincount(shown[changed], minlength=VOCABULARY)
    assert others[MASK] == 0 and bool((others[:MASK] > 0).all()) and bool((others[MASK + 1 :] > 0).all())


@given(LENGTHS, st.booleans(), st.integers(0, 2**32))
def test_other_tokens_stay_unchanged_and_the_input_is_not_overwritten(lengths, always, seed):
    text, ends = framed(lengths)
    tokens = torch.randint(5, VOCABULARY, text.shape, generator=draw(seed))
    before, chosen = tokens.clone(), choose_tokens(text, ends, 0.5, draw(seed))
    shown = mask_tokens(tokens, chosen, MASK, VOCABULARY, always, draw(seed))
    assert torch.equal(tokens, before)
    untouched = torch.ones_like(text).index_fill(0, chosen, False)
    assert torch.equal(shown[untouched], tokens[untouched])
    assert not always or bool((shown[chosen] == MASK).all())


def test_masking_rates_equal_those_of_transformers(tiny_encoder):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.BertTokenizer.from_pretrained(tiny_encoder)
    theirs = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, seed=0)
    text, ends = framed([LENGTH - 2] * SEQUENCES)
    tokens = torch.where(text, torch.randint(5, len(tokenizer), text.shape, generator=draw(1)), 2)
    chosen = choose_tokens(text, ends, 0.15, draw())
    ours = torch.full_like(tokens, -100).index_copy(0, chosen, tokens[chosen])
    shown = mask_tokens(tokens, chosen, tokenizer.mask_token_id, len(tokenizer), False, draw())
    square = (SEQUENCES, LENGTH)
    theirs_shown, labels = theirs.torch_mask_tokens(tokens.reshape(square).clone(), ~text.reshape(square))
    counts = [
        torch.stack(
            [chosen.sum(), (shown[chosen] == tokenizer.mask_token_id).sum(), (shown[chosen] == kept[chosen]).sum()]
        )
        for shown, kept, chosen in (
            (shown, tokens, ours != -100),
            (theirs_shown.flatten(), tokens, labels.flatten() != -100),
        )
    ]
    assert bool(((counts[0] - counts[1]).abs() < 3 * counts[0].double().sqrt() * math.sqrt(2)).all()), counts
