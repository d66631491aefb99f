"""minBERT: equal to the public implementation, and blind to how a batch is laid out."""

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
    """Draw sequences of these lengths, without padding's token 0; the second half of each is segment 1."""
    draw = torch.Generator().manual_seed(sum(lengths))
    tokens = torch.randint(1, vocabulary, (sum(lengths),), generator=draw)
    segments = [(torch.arange(length) >= length / 2).long() for length in lengths]
    return tokens, torch.tensor([0, *lengths]).cumsum(0), torch.cat(segments)


def rows(values: Tensor, offsets: Tensor) -> list[Tensor]:
    """Cut a flat list into its sequences."""
    return list(values.split(offsets.diff().tolist()))


def padded(values: Tensor, offsets: Tensor) -> Tensor:
    """Turn a flat list [tokens] into [sequences, length], padded with 0."""
    return torch.nn.utils.rnn.pad_sequence(rows(values, offsets), batch_first=True)


def small(dropout: float = 0.0, attention_dropout: float = 0.0) -> Bert:
    torch.manual_seed(0)
    return Bert(SMALL, dropout, attention_dropout)


@pytest.fixture(scope="module", params=["minilm", "small"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bert, BertModel]:
    """A checkpoint as our encoder and as that of transformers."""
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


def test_it_equals_transformers_on_the_same_weights(pair: tuple[Bert, BertModel]):
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


def test_its_gradients_equal_those_of_transformers(tmp_path: Path):
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


def test_the_first_tokens_alone_equal_the_first_of_all_tokens():
    encoder = small().eval()
    tokens, offsets, segments = batch(LENGTHS, SMALL.vocabulary)
    hidden = encoder.encode(encoder.embed(tokens), offsets, segments)
    first = encoder.encode_first(encoder.embed(tokens), offsets, segments)
    torch.testing.assert_close(first, hidden[offsets[:-1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("lengths", [[9], [4, 4, 4, 4, 4], [1, 60], LENGTHS, LENGTHS[::-1]])
def test_a_sequence_alone_and_in_a_batch_have_equal_hidden_states(lengths: list[int]):
    encoder = small().eval()
    tokens, offsets, segments = batch(lengths, SMALL.vocabulary)
    together = rows(encoder.encode(encoder.embed(tokens), offsets, segments), offsets)
    for index, (start, end) in enumerate(pairwise(offsets.tolist())):
        only = torch.tensor([0, end - start])
        alone = encoder.encode(encoder.embed(tokens[start:end]), only, segments[start:end])
        torch.testing.assert_close(together[index], alone, rtol=0, atol=1e-5)


def test_no_gradient_and_no_nan_passes_between_sequences():
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


def test_every_token_s_embedding_has_a_gradient():
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
def test_equal_seeds_give_equal_dropout_and_other_seeds_another(dropout: float, attention_dropout: float):
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
def test_attention_that_drops_nothing_is_attention_without_dropout(
    low_precision: bool, monkeypatch: pytest.MonkeyPatch
):
    """With dropout a CPU takes steps of ours in the place of torch's kernel."""
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


def test_what_attention_drops_are_weights_that_add_up_to_one(monkeypatch: pytest.MonkeyPatch):
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


def test_embed_is_the_word_embedding_alone():
    encoder = small(0.5, 0.5).train()
    tokens, _, _ = batch(LENGTHS, SMALL.vocabulary)
    assert torch.equal(encoder.embed(tokens), encoder.word.weight[tokens])


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60))
def test_a_layout_has_a_place_of_its_own_for_every_token(lengths: list[int]):
    layout = AttentionLayout.of(torch.tensor([0, *lengths]).cumsum(0), CPU)
    flat = torch.arange(1.0, sum(lengths) + 1)[:, None]
    slices = layout.tokens.pad(flat)
    assert torch.equal(layout.tokens.unpad(slices), flat)
    assert sum(int(part.count_nonzero()) for part in slices) == len(flat)
    first = torch.arange(1.0, len(lengths) + 1)[:, None]
    assert torch.equal(layout.sequences.unpad(layout.sequences.pad(first)), first)
    assert len(slices) <= SLICES
    for part, mask in zip(slices, layout.masks, strict=True):
        tokens = part[:, :, 0] != 0  # [rows, length]
        assert tokens.all() if mask is None else torch.equal(mask[:, 0, 0], tokens)


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60))
def test_a_sequence_longer_than_a_slice_s_share_of_tokens_pads_no_other(lengths: list[int]):
    shapes = AttentionLayout.of(torch.tensor([0, *lengths]).cumsum(0), CPU).tokens.shapes
    assert all(count == 1 or length * SLICES <= sum(lengths) for count, length in shapes)
