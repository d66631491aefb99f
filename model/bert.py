"""minBERT: a flat list of tokens in, a vector per token or per sequence out. Padding exists inside attention only."""

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

SLICES = 4  # of a batch in attention; measured on 48 rows: one costs 1.1 to 1.3 times the step, eight 0.99


@dataclass(frozen=True)
class BertConfig:
    """The shape of an encoder; the defaults are MiniLM's."""

    vocabulary: int = 30522
    width: int = 384
    layers: int = 6
    heads: int = 12
    feed_forward: int = 1536
    positions: int = 512
    segments: int = 2
    norm_eps: float = 1e-12


class Bert(nn.Module):
    """The encoder: embeddings, layers, pooler.

    Every method takes a batch as one list of tokens, sequence after sequence; sequence i owns the tokens from
    offsets[i] to offsets[i + 1].

    Args:
        dropout: of hidden states.
        attention_dropout: of attention weights.
        low_precision: whether layers multiply in bfloat16.

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
        self.config, self.width, self.positions, self.low_precision = (
            config,
            config.width,
            config.positions,
            low_precision,
        )
        self.word = EmbeddingTable(config.vocabulary, config.width)
        self.position = EmbeddingTable(config.positions, config.width)
        self.segment = EmbeddingTable(config.segments, config.width)
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(Layer(config, dropout, attention_dropout) for _ in range(config.layers))
        self.pooler = Linear(config.width, config.width)

    def embed(self, tokens: Tensor) -> Tensor:
        """Look up the word embeddings alone, [tokens] -> [tokens, width]: what adversarial training perturbs."""
        return self.word(tokens)

    @in_chosen_precision
    def encode(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Turn word embeddings into hidden states.

        Args:
            embedded: [tokens, width], from `embed`.
            offsets: [sequences + 1], of sequences that have at least one token each; on the CPU.
            segments: [tokens], 0 or 1.

        Returns:
            [tokens, width].
        """
        layout = AttentionLayout.of(offsets, embedded.device)
        hidden = self._enter(embedded, segments, layout)  # [tokens, width]
        for layer in self.layers:
            hidden = layer(hidden, layout.tokens, hidden, layout)  # [tokens, width]
        return hidden

    @in_chosen_precision
    def encode_first(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each sequence's first token, [sequences, width]; arguments as in `encode`.

        It equals `encode(...)[offsets[:-1]]` and costs less: the last layer leaves out what no one reads.
        """
        layout = AttentionLayout.of(offsets, embedded.device)
        hidden = self._enter(embedded, segments, layout)  # [tokens, width]
        *layers, last = self.layers
        for layer in layers:
            hidden = layer(hidden, layout.tokens, hidden, layout)  # [tokens, width]
        first = hidden.index_select(0, offsets[:-1].to(hidden.device, non_blocking=True))  # [sequences, width]
        return last(first, layout.sequences, hidden, layout)  # [sequences, width]

    def pool(self, first: Tensor) -> Tensor:
        """Turn hidden states of first tokens into features of their sequences, [sequences, width] -> the same."""
        return torch.tanh(self.pooler(first))

    def blocks(self) -> list[list[nn.Parameter]]:
        """List the parameters from the bottom up: embeddings, layer after layer, pooler."""
        embeddings = nn.ModuleList([self.word, self.position, self.segment, self.norm])
        return [list(part.parameters()) for part in (embeddings, *self.layers, self.pooler)]

    def _enter(self, embedded: Tensor, segments: Tensor, layout: "AttentionLayout") -> Tensor:
        embedded = embedded + self.position(layout.positions) + self.segment(segments)  # [tokens, width]
        return self.dropout(self.norm(embedded))


class Layer(nn.Module):
    """Attention, then a feed-forward map; the result of each is added to what entered it and normalised."""

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

    def forward(self, readers: Tensor, places: "PaddedSlices", hidden: Tensor, layout: "AttentionLayout") -> Tensor:
        """Return the next hidden states of some tokens, each of which reads all tokens of its sequence.

        Args:
            readers: [readers, width], the hidden states of those tokens: all, or the first of each sequence.
            places: where they stand.
            hidden: [tokens, width], the hidden states of all.

        Returns:
            [readers, width].
        """
        queries = places.pad(self.query(readers))  # slices of [rows, readers, width]
        keys = layout.tokens.pad(self.key(hidden))  # slices of [rows, length, width]
        values = layout.tokens.pad(self.value(hidden))  # slices of [rows, length, width]
        read = [self._attend(*slices) for slices in zip(queries, keys, values, layout.masks, strict=True)]
        readers = self.attended_norm(readers + self.dropout(self.attended(places.unpad(read))))  # [readers, width]
        expanded = functional.gelu(self.expand(readers))  # [readers, feed_forward]
        return self.contract_norm(readers + self.dropout(self.contract(expanded)))  # [readers, width]

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Mix the values of each row for each of its queries, [rows, readers, width]."""
        query, key, value = (  # [rows, heads, readers or length, width / heads]
            flat.unflatten(-1, (self.heads, -1)).transpose(1, 2) for flat in (queries, keys, values)
        )
        dropout = self.attention_dropout if self.training else 0.0
        mix = _mix_on_cpu if query.device.type == "cpu" else functional.scaled_dot_product_attention
        return mix(query, key, value, mask, dropout).transpose(1, 2).flatten(2)  # [rows, readers, width]


@torch.autocast("cpu", enabled=False)
def _mix_on_cpu(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Return what `scaled_dot_product_attention` does, [rows, heads, readers, width / heads], in float32 or above.

    Args:
        query: [rows, heads, readers, width / heads].
        key, value: [rows, heads, length, width / heads].
        mask: [rows, 1, 1, length], True at tokens; None if all are.
        dropout: of the weights.
    """
    # Torch's kernel takes four times as long in bfloat16 on a CPU.
    query, key, value = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (query, key, value))
    if not dropout:
        return functional.scaled_dot_product_attention(query, key, value, mask)
    # Torch has no kernel with dropout for a CPU; these steps are the formula, with our masks.
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [rows, heads, readers, length]
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return apply_dropout(scores.softmax(-1), dropout) @ value


class Linear(nn.Linear):
    """A linear map that starts as BERT's do."""

    def reset_parameters(self) -> None:
        """Draw the weights, if they are to be numbers."""
        _draw(self.weight)
        nn.init.zeros_(self.bias)


class EmbeddingTable(nn.Embedding):
    """Vectors to look up, which start as BERT's do."""

    def reset_parameters(self) -> None:
        """Draw the weights, if they are to be numbers."""
        _draw(self.weight)


def _draw(weight: Tensor) -> None:
    if not weight.is_meta:  # there torch would load its compiler, for a second and a half, to draw nothing
        nn.init.normal_(weight, std=0.02)


@dataclass(frozen=True)
class PaddedSlices:
    """Where the vectors of a flat list stand in padded slices of [rows, length, width]."""

    index: Tensor
    """[vectors], place of each vector among the padded ones of all slices."""
    shapes: list[tuple[int, int]]
    """(rows, length) of each slice."""

    def pad(self, flat: Tensor) -> list[Tensor]:
        """Move vectors into slices, [vectors, width] -> slices of [rows, length, width]; padding is 0."""
        sizes = [rows * length for rows, length in self.shapes]
        padded = flat.new_zeros(sum(sizes), flat.shape[1]).index_copy(0, self.index, flat)
        return [part.unflatten(0, shape) for part, shape in zip(padded.split(sizes), self.shapes, strict=True)]

    def unpad(self, slices: list[Tensor]) -> Tensor:
        """Move vectors back, slices of [rows, length, width] -> [vectors, width]."""
        return torch.cat([part.flatten(0, 1) for part in slices]).index_select(0, self.index)


@dataclass(frozen=True)
class AttentionLayout:
    """How a batch goes through attention: its sequences by length, in slices, each padded to its own longest."""

    positions: Tensor
    """[tokens], place of each token in its sequence."""
    tokens: PaddedSlices
    """Of all tokens."""
    sequences: PaddedSlices
    """Of one token of each sequence."""
    masks: list[Tensor | None]
    """Of each slice [rows, 1, 1, length], True at tokens; None where there is no padding."""

    @classmethod
    def of(cls, offsets: Tensor, device: torch.device) -> "AttentionLayout":
        """Lay out the batch with `offsets` [sequences + 1], which are on the CPU, for a pass on a device."""
        move = partial(Tensor.to, device=device, non_blocking=True)
        lengths = offsets.diff()  # [sequences]
        positions = torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(lengths)  # [tokens]
        rising, order = lengths.sort(stable=True)  # [sequences]
        rank = order.argsort()  # [sequences]
        slices = rising.split(_slice_sizes(rising.tolist()))  # of lengths [rows]
        padded = torch.cat([rows[-1:].expand_as(rows) for rows in slices])  # [sequences], in rising order
        starts = (padded.cumsum(0) - padded)[rank]  # [sequences], place of the first token
        return cls(
            positions=move(positions),
            tokens=PaddedSlices(
                index=move(starts.repeat_interleave(lengths) + positions),
                shapes=[(len(rows), int(rows[-1])) for rows in slices],
            ),
            sequences=PaddedSlices(index=move(rank), shapes=[(len(rows), 1) for rows in slices]),
            masks=[None if rows[0] == rows[-1] else move(_mask(rows)) for rows in slices],
        )


def _slice_sizes(lengths: list[int]) -> list[int]:
    """Cut rising lengths into at most `SLICES` slices of about as many tokens each; return the rows of each."""
    total = sum(lengths)
    slices = [(end * SLICES - 1) // total for end in accumulate(lengths)]  # by where a sequence ends
    return list(Counter(slices).values())


def _mask(lengths: Tensor) -> Tensor:
    """Return what a slice of rising lengths [rows] may attend to, [rows, 1, 1, length]."""
    return (torch.arange(int(lengths[-1])) < lengths[:, None])[:, None, None]
