"""One encoder and a head per task: rows of several tasks go through the encoder in one flat list of tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.bert import Bert
from model.heads import PAIR_FEATURES


@dataclass(frozen=True)
class Inputs:
    """Rows of one or several tasks as one flat list of tokens.

    A pair that is encoded apart is two sequences: all first sides of a task come before all second sides.
    """

    tokens: Tensor
    """[tokens], int64."""
    segments: Tensor
    """[tokens], int64: 0, or 1 in the second sentence of a concatenated pair."""
    offsets: Tensor
    """[sequences + 1], int64: where each sequence begins, and the end."""
    sequences: dict[str, int]
    """How many sequences each task has, in the order of the flat list."""

    def to(self, device: torch.device | str) -> "Inputs":
        """Return the same rows on another device."""
        return Inputs(self.tokens.to(device), self.segments.to(device), self.offsets.to(device), self.sequences)


class Multitask(nn.Module):
    """An encoder shared by tasks, and a head for each.

    Args:
        heads: of each task, [rows, features] -> [rows, outputs].
        separate: the tasks whose rows are pairs that are encoded apart.
        pair_features: how the two sides of such a pair are joined, a name of `PAIR_FEATURES`.
    """

    def __init__(
        self,
        encoder: Bert,
        heads: dict[str, nn.Module],
        separate: frozenset[str] = frozenset(),
        pair_features: str = "u_v_difference",
    ):
        super().__init__()
        self.encoder, self.heads = encoder, nn.ModuleDict(heads)
        self.separate, self.pair_features = separate, PAIR_FEATURES[pair_features]

    def embed(self, tokens: Tensor) -> Tensor:
        """Look up word embeddings, [tokens] -> [tokens, width]."""
        return self.encoder.embed(tokens)

    def forward(self, embedded: Tensor, inputs: Inputs) -> dict[str, Tensor]:
        """Return the outputs [rows, outputs] of every task in `inputs`: logits or values.

        Args:
            embedded: [tokens, width], the word embeddings of `inputs.tokens`, perturbed or not.
        """
        first = self.encoder.encode_first(embedded, inputs.offsets, inputs.segments)  # [sequences, width]
        parts = self.encoder.pool(first).split(list(inputs.sequences.values()))  # of each task, [sequences, width]
        pooled = dict(zip(inputs.sequences, parts, strict=True))
        return {task: self.heads[task](self._features(task, part)) for task, part in pooled.items()}

    def _features(self, task: str, pooled: Tensor) -> Tensor:
        if task not in self.separate:
            return pooled  # [rows, width]
        u, v = pooled.chunk(2)  # [rows, width]
        return self.pair_features.function(u, v)  # [rows, features]
