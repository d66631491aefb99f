"""Test that every kind of encoder equals transformers, and that results do not depend on the layout of a batch."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model.encoder import Encoder, Pretrained, build_encoder, build_mlm_head
from model.pretrained import load_encoder, read_pretrained, save_encoder
from tests.model.checkpoints import KINDS, SPECIALS, write_checkpoint
from tests.model.test_bert import LENGTHS, Batch, batch, padded, rows

WITH_HEAD = {"bert": "ForPreTraining", "roberta": "ForMaskedLM", "electra": "ForMaskedLM"}
"""Kind whose masked language model has a head like that of BERT -> end of the name of its class."""
DROPOUTS = [(0.2, 0.0), (0.0, 0.2), (0.2, 0.2)]


@dataclass(frozen=True)
class Case:
    """A checkpoint as our encoder and as the model of transformers."""

    kind: str
    pretrained: Pretrained
    reference: PreTrainedModel

    def encoder(self, dropout: float = 0.0, attention_dropout: float = 0.0, *, low_precision: bool = False) -> Encoder:
        return build_encoder(self.pretrained, dropout, attention_dropout, low_precision=low_precision)

    def batch(self, lengths: list[int] = LENGTHS) -> Batch:
        """Draw sequences of these lengths, without special tokens; the second half of each is segment 1."""
        tokens, offsets, segments = batch(lengths, self.pretrained.config.vocabulary)
        return tokens.clamp_min(SPECIALS), offsets, segments


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    directory = tmp_path_factory.mktemp(request.param)
    reference = write_checkpoint(request.param, directory)
    return Case(request.param, read_pretrained(str(directory)), reference)


def train(encoder: Encoder, mode: bool) -> Encoder:
    assert isinstance(encoder, nn.Module)
    encoder.train(mode)
    return encoder


def expected(case: Case, tokens: Tensor, offsets: Tensor, segments: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the hidden states [tokens, width] and pooled features [sequences, width], if any, of transformers."""
    mask = padded(torch.ones_like(tokens), offsets)
    types = {"token_type_ids": padded(segments, offsets)} if KINDS[case.kind].segments else {}
    output = case.reference(padded(tokens, offsets), attention_mask=mask, **types)
    return output.last_hidden_state[mask.bool()], getattr(output, "pooler_output", None)


def test_hidden_states_equal_those_of_transformers(case: Case):
    encoder, (tokens, offsets, segments) = train(case.encoder(), False), case.batch()
    with torch.no_grad():
        hidden, pooled = expected(case, tokens, offsets, segments)
        ours = encoder.encode(encoder.embed(tokens), offsets, segments)
        first = encoder.encode_first(encoder.embed(tokens), offsets, segments)
    assert (ours - hidden).abs().max() < 1e-5
    assert (first - hidden[offsets[:-1]]).abs().max() < 1e-5
    assert (pooled is not None) == (case.kind in ("bert", "roberta"))
    if pooled is not None:
        assert (encoder.pool(first) - pooled).abs().max() < 1e-5


def test_gradients_equal_those_of_transformers(case: Case):
    encoder, (tokens, offsets, segments) = train(case.encoder(), False), case.batch()
    encoder.encode(encoder.embed(tokens), offsets, segments).square().sum().backward()
    case.reference.zero_grad()
    expected(case, tokens, offsets, segments)[0].square().sum().backward()
    ours, theirs = encoder.word.weight.grad, case.reference.get_input_embeddings().weight.grad
    assert isinstance(theirs, Tensor)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("lengths", [[9], [4, 4, 4, 4, 4], [1, 60], LENGTHS])
def test_a_sequence_has_the_same_hidden_states_alone_and_in_a_batch(case: Case, lengths: list[int]):
    encoder, (tokens, offsets, segments) = train(case.encoder(), False), case.batch(lengths)
    with torch.no_grad():
        together = rows(encoder.encode(encoder.embed(tokens), offsets, segments), offsets)
        for index, (start, end) in enumerate(pairwise(offsets.tolist())):
            only = torch.tensor([0, end - start])
            alone = encoder.encode(encoder.embed(tokens[start:end]), only, segments[start:end])
            torch.testing.assert_close(together[index], alone, rtol=0, atol=1e-5)


def test_gradients_stay_within_a_sequence_and_reach_every_token(case: Case):
    encoder, (tokens, offsets, segments) = train(case.encoder(), False), case.batch()
    embedded = encoder.embed(tokens).detach().requires_grad_()
    hidden = encoder.encode(embedded, offsets, segments)
    (gradient,) = torch.autograd.grad(rows(hidden, offsets)[4].square().sum(), embedded)
    assert [bool(part.any()) for part in rows(gradient, offsets)] == [index == 4 for index in range(len(LENGTHS))]
    # Padding must not turn the gradient into NaN, with dropout and for the last token of the longest sequence.
    encoder = train(case.encoder(0.1, 0.1), True)
    first = encoder.encode_first(embedded, offsets, segments)
    (gradient,) = torch.autograd.grad(encoder.pool(first).sum(), embedded)
    assert gradient.isfinite().all() and gradient.any(dim=1).all()


def test_every_parameter_is_in_exactly_one_block(case: Case):
    encoder, (tokens, offsets, segments) = case.encoder(), case.batch()
    blocks = encoder.blocks()
    assert len(blocks) == 1 + 2 + 1
    placed = [parameter for block in blocks for parameter in block]
    assert len(placed) == len(set(placed)) and set(placed) == set(encoder.parameters())
    assert any(parameter is encoder.word.weight for parameter in blocks[0])
    # Gradient surgery needs a gradient of every parameter.
    pooled = encoder.pool(encoder.encode_first(encoder.embed(tokens), offsets, segments))
    assert all(gradient.any() for gradient in torch.autograd.grad(pooled.square().sum(), placed))


def test_without_dropout_training_equals_evaluation(case: Case):
    encoder, (tokens, offsets, segments) = case.encoder(), case.batch()
    embedded = encoder.embed(tokens)
    training = train(encoder, True).encode(embedded, offsets, segments)
    torch.testing.assert_close(training, train(encoder, False).encode(embedded, offsets, segments), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dropout", "attention_dropout"), DROPOUTS)
def test_dropout_depends_on_the_seed_only(case: Case, dropout: float, attention_dropout: float):
    encoder = train(case.encoder(dropout, attention_dropout), True)
    tokens, offsets, segments = case.batch()
    embedded, outputs = encoder.embed(tokens), []
    for seed, perturbed in [(1, embedded), (1, embedded + torch.zeros_like(embedded)), (2, embedded)]:
        torch.manual_seed(seed)
        outputs.append(encoder.encode(perturbed, offsets, segments))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_embed_returns_the_word_embeddings_only(case: Case):
    encoder, (tokens, _, _) = train(case.encoder(0.5, 0.5), True), case.batch()
    assert torch.equal(encoder.embed(tokens), encoder.word.weight[tokens])
    table: Any = case.reference.get_input_embeddings()
    assert torch.equal(encoder.word.weight, table.weight)
    assert encoder.embed(tokens).shape[1] == (16 if case.kind == "electra" else 32)


def test_a_sequence_of_the_stated_largest_length_is_encoded(case: Case):
    encoder = case.encoder()
    assert (encoder.width, encoder.positions) == (32, 64)
    tokens, offsets, segments = case.batch([64])
    assert encoder.encode(encoder.embed(tokens), offsets, segments).isfinite().all()


def test_a_built_encoder_has_copies_of_the_pretrained_weights(case: Case):
    encoder = case.encoder()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    assert all(weight.any() for name, weight in case.pretrained.weights.items() if name != "pooler.bias")


def test_load_encoder_reads_what_save_encoder_wrote(case: Case, tmp_path: Path):
    head = {"dense.bias": torch.arange(3.0)}
    save_encoder(tmp_path, Pretrained(case.pretrained.config, case.pretrained.weights, "{}", head))
    loaded = load_encoder(tmp_path)
    assert (loaded.config, loaded.tokenizer) == (case.pretrained.config, "{}")
    assert loaded.weights.keys() == case.pretrained.weights.keys()
    assert all(torch.equal(weight, case.pretrained.weights[name]) for name, weight in loaded.weights.items())
    assert loaded.mlm_head.keys() == head.keys() and torch.equal(loaded.mlm_head["dense.bias"], head["dense.bias"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize("kind", WITH_HEAD)
def test_the_mlm_head_of_a_checkpoint_gives_the_logits_of_transformers(kind: str, tmp_path: Path):
    reference = write_checkpoint(kind, tmp_path, head=WITH_HEAD[kind])
    case = Case(kind, read_pretrained(str(tmp_path)), reference)
    encoder, (tokens, offsets, segments) = train(case.encoder(), False), case.batch()
    head = build_mlm_head(case.pretrained, encoder, 0.0)
    mask = padded(torch.ones_like(tokens), offsets)
    types = {"token_type_ids": padded(segments, offsets)} if KINDS[kind].segments else {}
    with torch.no_grad():
        output = reference(padded(tokens, offsets), attention_mask=mask, **types)
        logits = head(encoder.encode(encoder.embed(tokens), offsets, segments), encoder.word.weight)
    theirs = output.prediction_logits if kind == "bert" else output.logits
    worst = (logits - theirs[mask.bool()]).abs().max()
    assert worst < 2e-5, f"worst difference {worst}"


def test_a_checkpoint_without_an_mlm_head_gets_a_drawn_head(case: Case):
    assert case.pretrained.mlm_head == {}
    encoder = case.encoder()
    torch.manual_seed(1)
    head = build_mlm_head(case.pretrained, encoder, 0.0)
    assert abs(head.dense.weight.std().item() - 0.02) < 0.003
    assert head(torch.zeros(4, 32), encoder.word.weight).shape == (4, case.pretrained.config.vocabulary)


def test_low_precision_gives_float32_results_close_to_those_of_float32(case: Case):
    tokens, offsets, segments = case.batch()
    found = []
    for low_precision in (False, True):
        encoder = train(case.encoder(low_precision=low_precision), False)
        hidden = encoder.encode(encoder.embed(tokens), offsets, segments)
        first = encoder.encode_first(encoder.embed(tokens), offsets, segments)
        draw = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0))
        (hidden * draw).sum().backward()
        gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
        assert all(value.dtype == torch.float32 for value in (hidden, first, *gradients))
        found.append((hidden.detach(), first.detach(), torch.cat([gradient.flatten() for gradient in gradients])))
    for exact, rounded in zip(*found, strict=True):
        assert not torch.equal(exact, rounded), "something is multiplied in bfloat16"
        assert torch.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.99
