"""The BERT encoder: turn a flat list of tokens into one vector per token or per sequence. Only attention pads."""

import math
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.dropout import Dropout, apply_dropout
from model.precision import in_chosen_precision

SLICES = 4
"""Attention splits a batch into this many slices.

Measured on 48 rows: a step with 1 slice takes 1.1 to 1.3 times as long as with 4, with 8 slices 0.99 times.
"""


@dataclass(frozen=True)
class BertConfig:
    """The sizes of an encoder. The defaults are those of MiniLM."""

    vocabulary: int = 30522
    width: int = 384
    layers: int = 6
    heads: int = 12
    feed_forward: int = 1536
    positions: int = 512
    segments: int = 2
    norm_eps: float = 1e-12


class Bert(nn.Module):
    """The encoder: embeddings, layers and a pooler.

    Every method takes a batch as one flat list of tokens. Sequence i has the tokens from offsets[i] up to
    offsets[i + 1].

    Args:
        dropout: dropout probability of hidden states.
        attention_dropout: dropout probability of attention weights.
        low_precision: whether the layers multiply matrices in bfloat16.

    Source: Devlin et al. 2019 (BERT).
    """

    def __init__(
        self,
        config: BertConfig,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        *,
        low_precision: bool = False,
    ):
        super().__init__()
        self.config, self.low_precision = config, low_precision
        self.width, self.positions = config.width, config.positions
        self.word = EmbeddingTable(config.vocabulary, config.width)
        self.position = EmbeddingTable(config.positions, config.width)
        self.segment = EmbeddingTable(config.segments, config.width)
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(Layer(config, dropout, attention_dropout) for _ in range(config.layers))
        self.pooler = Linear(config.width, config.width)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the word embeddings [tokens, width] of `tokens` [tokens]; adversarial training perturbs them."""
        return self.word(tokens)

    @in_chosen_precision
    def encode(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each token.

        Args:
            embedded: [tokens, width], word embeddings, as `embed` returns them.
            offsets: [sequences + 1], on the CPU. Every sequence has at least one token.
            segments: [tokens], 0 or 1.

        Returns:
            [tokens, width].
        """
        layout = AttentionLayout.of(offsets, embedded.device)
        hidden = self._embed_inputs(embedded, segments, layout)  # [tokens, width]
        for layer in self.layers:
            hidden = layer(hidden, layout.all_tokens, hidden, layout)  # [tokens, width]
        return hidden

    @in_chosen_precision
    def encode_first(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each sequence's first token, [sequences, width].

        The result equals `encode(...)[offsets[:-1]]` and costs less: the last layer computes these tokens only.

        Args:
            embedded, offsets, segments: as in `encode`.
        """
        layout = AttentionLayout.of(offsets, embedded.device)
        hidden = self._embed_inputs(embedded, segments, layout)  # [tokens, width]
        *layers, last = self.layers
        for layer in layers:
            hidden = layer(hidden, layout.all_tokens, hidden, layout)  # [tokens, width]
        first = hidden.index_select(0, offsets[:-1].to(hidden.device, non_blocking=True))  # [sequences, width]
        return last(first, layout.first_tokens, hidden, layout)  # [sequences, width]

    def pool(self, first: Tensor) -> Tensor:
        """Return the features [sequences, width] of sequences, from the hidden states of their first tokens."""
        return torch.tanh(self.pooler(first))

    def blocks(self) -> list[list[nn.Parameter]]:
        """List the parameters block by block: the embeddings, each layer from the bottom up, the pooler."""
        embeddings = nn.ModuleList([self.word, self.position, self.segment, self.norm])
        return [list(part.parameters()) for part in (embeddings, *self.layers, self.pooler)]

    def _embed_inputs(self, embedded: Tensor, segments: Tensor, layout: "AttentionLayout") -> Tensor:
        """Add position and segment embeddings to word embeddings [tokens, width]; normalise the sum."""
        embedded = embedded + self.position(layout.positions) + self.segment(segments)  # [tokens, width]
        return self.dropout(self.norm(embedded))


class Layer(nn.Module):
    """A transformer layer: attention, then a feed-forward network, each with a residual sum and a norm."""

    def __init__(self, config: BertConfig, dropout: float, attention_dropout: float):
        super().__init__()
        self.heads, self.attention_dropout = config.heads, attention_dropout
        self.query = Linear(config.width, config.width)
        self.key = Linear(config.width, config.width)
        self.value = Linear(config.width, config.width)
        self.attended = Linear(config.width, config.width)
        self.attended_norm = nn.LayerNorm(config.width, config.norm_eps)
        self.expand = Linear(config.width, config.feed_forward)
        self.contract = Linear(config.feed_forward, config.width)
        self.contract_norm = nn.LayerNorm(config.width, config.norm_eps)
        self.dropout = Dropout(dropout)

    def forward(
        self, querying: Tensor, query_slices: "PaddedSlices", hidden: Tensor, layout: "AttentionLayout"
    ) -> Tensor:
        """Return the next hidden states of the querying tokens; each attends to all tokens of its sequence.

        Args:
            querying: [queries, width], the hidden states of the querying tokens: all tokens, or the first of each
                sequence.
            query_slices: the positions of the querying tokens in the padded slices.
            hidden: [tokens, width], the hidden states of all tokens.
            layout: the layout of the batch.

        Returns:
            [queries, width].
        """
        queries = query_slices.pad(self.query(querying))  # slices of [rows, queries, width]
        keys = layout.all_tokens.pad(self.key(hidden))  # slices of [rows, length, width]
        values = layout.all_tokens.pad(self.value(hidden))  # slices of [rows, length, width]
        mixed = [self._attend(*slices) for slices in zip(queries, keys, values, layout.masks, strict=True)]
        attended = self.dropout(self.attended(query_slices.unpad(mixed)))  # [queries, width]
        hidden = self.attended_norm(querying + attended)  # [queries, width]
        expanded = functional.gelu(self.expand(hidden))  # [queries, feed_forward]
        return self.contract_norm(hidden + self.dropout(self.contract(expanded)))  # [queries, width]

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return the attention-weighted mean of each row's values for each of its queries, [rows, queries, width]."""
        query, key, value = (  # [rows, heads, queries or length, width / heads]
            flat.unflatten(-1, (self.heads, -1)).transpose(1, 2) for flat in (queries, keys, values)
        )
        dropout = self.attention_dropout if self.training else 0.0
        attention = _attention_on_cpu if query.device.type == "cpu" else functional.scaled_dot_product_attention
        return attention(query, key, value, mask, dropout).transpose(1, 2).flatten(2)  # [rows, queries, width]


@torch.autocast("cpu", enabled=False)
def _attention_on_cpu(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Compute `scaled_dot_product_attention` in float32 or higher precision, [rows, heads, queries, width / heads].

    Args:
        query: [rows, heads, queries, width / heads].
        key, value: [rows, heads, length, width / heads].
        mask: [rows, 1, 1, length], True at tokens, False at padding; None if there is no padding.
        dropout: dropout probability of the attention weights.
    """
    # On a CPU, torch's attention kernel is four times slower in bfloat16.
    query, key, value = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (query, key, value))
    if not dropout:
        return functional.scaled_dot_product_attention(query, key, value, mask)
    # On a CPU, torch has no attention kernel with dropout; compute the formula step by step, with our own masks.
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [rows, heads, queries, length]
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return apply_dropout(scores.softmax(-1), dropout) @ value


class Linear(nn.Linear):
    """A linear layer with the initial weights of BERT."""

    def reset_parameters(self) -> None:
        """Draw the initial weights, unless the module is on the meta device."""
        _draw(self.weight)
        nn.init.zeros_(self.bias)


class EmbeddingTable(nn.Embedding):
    """An embedding table with the initial weights of BERT."""

    def reset_parameters(self) -> None:
        """Draw the initial weights, unless the module is on the meta device."""
        _draw(self.weight)


def _draw(weight: Tensor) -> None:
    # On the meta device nothing is drawn, yet torch would load its compiler, which takes 1.5 seconds.
    if not weight.is_meta:
        nn.init.normal_(weight, std=0.02)


@dataclass(frozen=True)
class PaddedSlices:
    """The positions of a flat list's vectors in padded slices of shape [rows, length, width]."""

    index: Tensor
    """[vectors], the position of each vector among the padded vectors of all slices."""
    shapes: list[tuple[int, int]]
    """(rows, length) of each slice."""

    def pad(self, flat: Tensor) -> list[Tensor]:
        """Copy vectors [vectors, width] into slices of [rows, length, width], padded with 0."""
        sizes = [rows * length for rows, length in self.shapes]
        padded = flat.new_zeros(sum(sizes), flat.shape[1]).index_copy(0, self.index, flat)
        return [part.unflatten(0, shape) for part, shape in zip(padded.split(sizes), self.shapes, strict=True)]

    def unpad(self, slices: list[Tensor]) -> Tensor:
        """Return the vectors [vectors, width] of padded slices of [rows, length, width]."""
        return torch.cat([part.flatten(0, 1) for part in slices]).index_select(0, self.index)


@dataclass(frozen=True)
class AttentionLayout:
    """How attention arranges a batch: sequences sorted by length in slices, each padded to its longest sequence."""

    positions: Tensor
    """[tokens], the position of each token in its sequence."""
    all_tokens: PaddedSlices
    """The positions of all tokens in the slices."""
    first_tokens: PaddedSlices
    """The positions of each sequence's first token in slices of one token per sequence."""
    masks: list[Tensor | None]
    """Attention mask of each slice, [rows, 1, 1, length]: True at tokens, False at padding; None without padding."""

    @classmethod
    def of(cls, offsets: Tensor, device: torch.device) -> "AttentionLayout":
        """Return the layout of a batch on `device`.

        Args:
            offsets: [sequences + 1], on the CPU.
            device: the device of the forward pass.
        """
        move = partial(Tensor.to, device=device, non_blocking=True)
        lengths = offsets.diff()  # [sequences]
        positions = torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(lengths)  # [tokens]
        rising, order = lengths.sort(stable=True)  # [sequences]
        rank = order.argsort()  # [sequences]
        slices = rising.split(_slice_sizes(rising.tolist()))  # the lengths [rows] of each slice
        padded = torch.cat([rows[-1:].expand_as(rows) for rows in slices])  # [sequences], sorted by length
        starts = (padded.cumsum(0) - padded)[rank]  # [sequences], position of the first token
        return cls(
            positions=move(positions),
            all_tokens=PaddedSlices(
                index=move(starts.repeat_interleave(lengths) + positions),
                shapes=[(len(rows), int(rows[-1])) for rows in slices],
            ),
            first_tokens=PaddedSlices(index=move(rank), shapes=[(len(rows), 1) for rows in slices]),
            masks=[None if rows[0] == rows[-1] else move(_mask(rows)) for rows in slices],
        )


def _slice_sizes(lengths: list[int]) -> list[int]:
    """Return the number of rows in each of at most `SLICES` slices with about equally many tokens.

    Args:
        lengths: [sequences], in rising order.
    """
    total = sum(lengths)
    slices = [(end * SLICES - 1) // total for end in accumulate(lengths)]  # slice of each sequence's last token
    return list(Counter(slices).values())


def _mask(lengths: Tensor) -> Tensor:
    """Return the attention mask [rows, 1, 1, length] of a slice with these lengths [rows], in rising order."""
    return (torch.arange(int(lengths[-1])) < lengths[:, None])[:, None, None]
