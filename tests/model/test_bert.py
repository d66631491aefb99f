"""Test that our BERT equals the public implementation, and that its results do not depend on the layout of a batch."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertModel

from model.bert import SLICES, AttentionLayout, Bert, BertConfig
from model.checkpoint_files import find_checkpoint
from model.encoder import Pretrained
from model.pretrained import read_pretrained
from tests.model.test_pretrained import write_checkpoint

SMALL = BertConfig(vocabulary=40, width=16, layers=3, heads=2, feed_forward=24, positions=64)
CPU = torch.device("cpu")
LENGTHS = [7, 2, 19, 2, 11, 40, 3, 3, 5, 23]

Batch = tuple[Tensor, Tensor, Tensor]
"""Tokens [tokens], offsets [sequences + 1], segments [tokens]."""


def batch(lengths: list[int], vocabulary: int) -> Batch:
    """Draw sequences of these lengths, without the padding token 0; the second half of each is segment 1."""
    draw = torch.Generator().manual_seed(sum(lengths))
    tokens = torch.randint(1, vocabulary, (sum(lengths),), generator=draw)
    segments = [(torch.arange(length) >= length / 2).long() for length in lengths]
    return tokens, torch.tensor([0, *lengths]).cumsum(0), torch.cat(segments)


def rows(values: Tensor, offsets: Tensor) -> list[Tensor]:
    """Cut a flat list into its sequences."""
    return list(values.split(offsets.diff().tolist()))


def padded(values: Tensor, offsets: Tensor) -> Tensor:
    """Return a flat list [tokens] as [sequences, length], padded with 0."""
    return torch.nn.utils.rnn.pad_sequence(rows(values, offsets), batch_first=True)


def small(dropout: float = 0.0, attention_dropout: float = 0.0) -> Bert:
    torch.manual_seed(0)
    return Bert(SMALL, dropout, attention_dropout)


@pytest.fixture(scope="module", params=["minilm", "small"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bert, BertModel]:
    """Return a checkpoint as our encoder and as that of transformers."""
    if request.param == "minilm":
        public, reference = read_pretrained("minilm"), BertModel.from_pretrained(find_checkpoint("minilm"))
    else:
        directory: Path = tmp_path_factory.mktemp("small")
        reference = write_checkpoint(directory)
        public = read_pretrained(str(directory))
    return pretrained(public).eval(), reference.eval()


def pretrained(public: Pretrained) -> Bert:
    assert isinstance(public.config, BertConfig)
    encoder = Bert(public.config)
    encoder.load_state_dict(public.weights)
    return encoder


def test_hidden_states_equal_those_of_transformers(pair: tuple[Bert, BertModel]):
    encoder, reference = pair
    tokens, offsets, segments = batch(LENGTHS, encoder.config.vocabulary)
    mask = padded(torch.ones_like(tokens), offsets)
    with torch.no_grad():
        expected = reference(padded(tokens, offsets), attention_mask=mask, token_type_ids=padded(segments, offsets))
        hidden = encoder.encode(encoder.embed(tokens), offsets, segments)
        first = encoder.encode_first(encoder.embed(tokens), offsets, segments)
    for ours, theirs in [
        (hidden, expected.last_hidden_state[mask.bool()]),
        (first, expected.last_hidden_state[:, 0]),
        (encoder.pool(first), expected.pooler_output),
    ]:
        worst = (ours - theirs).abs().max().item()
        assert worst < 1e-5, f"worst difference {worst}"


def test_gradients_equal_those_of_transformers(tmp_path: Path):
    reference = write_checkpoint(tmp_path)
    encoder = pretrained(read_pretrained(str(tmp_path))).eval()
    tokens, offsets, segments = batch(LENGTHS, encoder.config.vocabulary)
    first = encoder.encode_first(encoder.embed(tokens), offsets, segments)
    encoder.pool(first).square().sum().backward()
    mask = padded(torch.ones_like(tokens), offsets)
    output = reference(padded(tokens, offsets), attention_mask=mask, token_type_ids=padded(segments, offsets))
    output.pooler_output.square().sum().backward()
    theirs = {name: weight.grad for name, weight in reference.named_parameters()}
    for ours, name in [
        (encoder.word.weight.grad, "embeddings.word_embeddings.weight"),
        (encoder.get_parameter("layers.0.key.weight").grad, "encoder.layer.0.attention.self.key.weight"),
        (encoder.get_parameter("layers.1.value.weight").grad, "encoder.layer.1.attention.self.value.weight"),
        (encoder.get_parameter("layers.1.query.weight").grad, "encoder.layer.1.attention.self.query.weight"),
    ]:
        torch.testing.assert_close(ours, theirs[name], rtol=1e-4, atol=1e-5)


def test_encode_first_equals_the_first_tokens_of_encode():
    encoder = small().eval()
    tokens, offsets, segments = batch(LENGTHS, SMALL.vocabulary)
    hidden = encoder.encode(encoder.embed(tokens), offsets, segments)
    first = encoder.encode_first(encoder.embed(tokens), offsets, segments)
    torch.testing.assert_close(first, hidden[offsets[:-1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("lengths", [[9], [4, 4, 4, 4, 4], [1, 60], LENGTHS, LENGTHS[::-1]])
def test_a_sequence_has_the_same_hidden_states_alone_and_in_a_batch(lengths: list[int]):
    encoder = small().eval()
    tokens, offsets, segments = batch(lengths, SMALL.vocabulary)
    together = rows(encoder.encode(encoder.embed(tokens), offsets, segments), offsets)
    for index, (start, end) in enumerate(pairwise(offsets.tolist())):
        only = torch.tensor([0, end - start])
        alone = encoder.encode(encoder.embed(tokens[start:end]), only, segments[start:end])
        torch.testing.assert_close(together[index], alone, rtol=0, atol=1e-5)


def test_neither_gradients_nor_nan_pass_between_sequences():
    encoder = small().eval()
    tokens, offsets, segments = batch(LENGTHS, SMALL.vocabulary)
    embedded = encoder.embed(tokens).detach().requires_grad_()
    hidden = encoder.encode(embedded, offsets, segments)
    (gradient,) = torch.autograd.grad(rows(hidden, offsets)[4].square().sum(), embedded)
    assert [bool(part.any()) for part in rows(gradient, offsets)] == [index == 4 for index in range(len(LENGTHS))]
    broken = embedded.detach().clone()
    rows(broken, offsets)[4].fill_(torch.nan)
    finite = [bool(part.isfinite().all()) for part in rows(encoder.encode(broken, offsets, segments), offsets)]
    assert finite == [index != 4 for index in range(len(LENGTHS))]


def test_the_embedding_of_every_token_has_a_gradient():
    encoder = small(0.1, 0.1).train()
    tokens, offsets, segments = batch(LENGTHS, SMALL.vocabulary)
    embedded = encoder.embed(tokens).detach().requires_grad_()
    encoder.pool(encoder.encode_first(embedded, offsets, segments)).sum().backward()
    assert embedded.grad is not None and embedded.grad.any(dim=1).all()


def test_without_dropout_training_equals_evaluation():
    encoder = small()
    tokens, offsets, segments = batch(LENGTHS, SMALL.vocabulary)
    embedded = encoder.embed(tokens)
    training = encoder.train().encode_first(embedded, offsets, segments)
    assert torch.equal(training, encoder.eval().encode_first(embedded, offsets, segments))


@pytest.mark.parametrize(("dropout", "attention_dropout"), [(0.2, 0.0), (0.0, 0.2), (0.2, 0.2)])
def test_dropout_depends_on_the_seed_only(dropout: float, attention_dropout: float):
    encoder = small(dropout, attention_dropout).train()
    tokens, offsets, segments = batch(LENGTHS, SMALL.vocabulary)
    embedded = encoder.embed(tokens)
    outputs = []
    for seed, perturbed in [(1, embedded), (1, embedded + torch.zeros_like(embedded)), (2, embedded)]:
        torch.manual_seed(seed)
        outputs.append(encoder.encode_first(perturbed, offsets, segments))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


@pytest.mark.parametrize("low_precision", [False, True])
def test_attention_steps_without_dropped_weights_equal_the_kernel(low_precision: bool, monkeypatch: pytest.MonkeyPatch):
    """On a CPU with dropout, our own steps replace the kernel of torch."""
    monkeypatch.setattr("model.bert.apply_dropout", lambda values, probability: values)
    tokens, offsets, segments = batch(LENGTHS, SMALL.vocabulary)
    found = []
    for attention_dropout in (0.0, 0.5):
        encoder = small(0.0, attention_dropout).train()
        encoder.low_precision = low_precision
        embedded = encoder.embed(tokens).detach().requires_grad_()
        hidden = encoder.encode(embedded, offsets, segments)
        found.append((hidden, *torch.autograd.grad(hidden.pow(3).sum(), embedded)))
    for kernel, steps in zip(*found, strict=True):
        torch.testing.assert_close(steps, kernel, rtol=1e-4, atol=2e-2 if low_precision else 1e-5)


def test_attention_dropout_acts_on_weights_that_sum_to_one(monkeypatch: pytest.MonkeyPatch):
    drawn: list[Tensor] = []

    def keep(values: Tensor, probability: float) -> Tensor:
        drawn.append(values)
        assert probability == 0.5
        return values

    monkeypatch.setattr("model.bert.apply_dropout", keep)
    tokens, offsets, segments = batch(LENGTHS, SMALL.vocabulary)
    encoder = small(0.0, 0.5).train()
    encoder.encode(encoder.embed(tokens), offsets, segments)
    assert len(drawn) == SMALL.layers * SLICES
    for weights in drawn:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_embed_returns_the_word_embeddings_only():
    encoder = small(0.5, 0.5).train()
    tokens, _, _ = batch(LENGTHS, SMALL.vocabulary)
    assert torch.equal(encoder.embed(tokens), encoder.word.weight[tokens])


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60))
def test_a_layout_gives_every_token_its_own_position(lengths: list[int]):
    layout = AttentionLayout.of(torch.tensor([0, *lengths]).cumsum(0), CPU)
    flat = torch.arange(1.0, sum(lengths) + 1)[:, None]
    slices = layout.all_tokens.pad(flat)
    assert torch.equal(layout.all_tokens.unpad(slices), flat)
    assert sum(int(part.count_nonzero()) for part in slices) == len(flat)
    first = torch.arange(1.0, len(lengths) + 1)[:, None]
    assert torch.equal(layout.first_tokens.unpad(layout.first_tokens.pad(first)), first)
    assert len(slices) <= SLICES
    for part, mask in zip(slices, layout.masks, strict=True):
        tokens = part[:, :, 0] != 0  # [rows, length]
        assert tokens.all() if mask is None else torch.equal(mask[:, 0, 0], tokens)


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60))
def test_a_very_long_sequence_is_alone_in_its_slice(lengths: list[int]):
    shapes = AttentionLayout.of(torch.tensor([0, *lengths]).cumsum(0), CPU).all_tokens.shapes
    assert all(count == 1 or length * SLICES <= sum(lengths) for count, length in shapes)
