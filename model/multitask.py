"""One encoder and a head per task: rows of several tasks go through the encoder in one flat list of tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.encoder import Encoder
from model.heads import PAIR_FEATURES, cosine


@dataclass(frozen=True)
class Inputs:
    """Rows of one or several tasks as one flat list of tokens.

    A row that is encoded apart is a sequence a side: all first sides of a task come before all second sides. A row that
    is encoded both ways is one more: before them come all rows as one sequence each.
    """

    tokens: Tensor
    """[tokens], int64."""
    segments: Tensor
    """[tokens], int64: 0, or 1 in the second sentence of a concatenated pair."""
    offsets: Tensor
    """[sequences + 1], int64: where each sequence begins, and the end. Always on the CPU, where batches are laid out:
    no pass asks a GPU how long a sequence is.
    """
    sequences: dict[str, int]
    """How many sequences each task has, in the order of the flat list."""

    def to(self, device: torch.device | str) -> "Inputs":
        """Return the same rows on another device."""
        tokens, segments = (each.to(device, non_blocking=True) for each in (self.tokens, self.segments))
        return Inputs(tokens, segments, self.offsets, self.sequences)


def pooled(encoder: Encoder, embedded: Tensor, inputs: Inputs) -> Tensor:
    """Return what the encoder's pooler makes of every sequence's first token."""
    return encoder.pool(first(encoder, embedded, inputs))


def first(encoder: Encoder, embedded: Tensor, inputs: Inputs) -> Tensor:
    """Return the hidden state of every sequence's first token."""
    return encoder.encode_first(embedded, inputs.offsets, inputs.segments)


def mean(encoder: Encoder, embedded: Tensor, inputs: Inputs) -> Tensor:
    """Return the mean hidden state of every sequence's tokens, special ones included."""
    hidden = encoder.encode(embedded, inputs.offsets, inputs.segments)  # [tokens, width]
    lengths = inputs.offsets.diff()  # [sequences]
    owners = torch.arange(len(lengths)).repeat_interleave(lengths).to(hidden.device)  # [tokens]
    sums = hidden.new_zeros(len(lengths), hidden.shape[1]).index_add(0, owners, hidden)  # [sequences, width]
    return sums / lengths[:, None].to(hidden.device)


POOLINGS: dict[str, Callable[[Encoder, Tensor, Inputs], Tensor]] = {"pooled": pooled, "first": first, "mean": mean}
"""(encoder, word embeddings [tokens, width], inputs) -> features of every sequence [sequences, width]."""


class Multitask(nn.Module):
    """An encoder shared by tasks, layers shared by some of them, and a head for each.

    Args:
        heads: of each task, [rows, features] -> [rows, outputs].
        encodings: how a task's rows are encoded: "concatenated", a sequence a row, which holds for tasks left out;
            "separate", all first sides of a batch, then all second ones; "both", first the one, then the other.
        features: how the two sides of a separate task's rows are joined, a name of `PAIR_FEATURES`.
        shared: the layer between a task's features and its head; one object for all tasks that share it.
        pooling: how a sequence's tokens become its features, a name of `POOLINGS`.
        mlm_head: what predicts hidden tokens in further pretraining; part of the model, but of no task.
    """

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        encodings: Mapping[str, str] = {},
        features: Mapping[str, str] = {},
        shared: Mapping[str, nn.Module] = {},
        pooling: str = "pooled",
        mlm_head: nn.Module | None = None,
    ):
        super().__init__()
        self.encoder, self.heads, self.mlm_head = encoder, nn.ModuleDict(heads), mlm_head
        self.encodings = dict.fromkeys(heads, "concatenated") | dict(encodings)
        self.features, self.pooling = dict(features), POOLINGS[pooling]
        self.shared_by = {task: _names(shared, layer) for task, layer in shared.items()}
        self.shared = nn.ModuleDict({self.shared_by[task]: layer for task, layer in shared.items()})

    def embed(self, tokens: Tensor) -> Tensor:
        """Look up word embeddings, [tokens] -> [tokens, width of the word table]."""
        return self.encoder.embed(tokens)

    def pool(self, embedded: Tensor, inputs: Inputs) -> Tensor:
        """Return the features of every sequence [sequences, width]; arguments as in `forward`."""
        return self.pooling(self.encoder, embedded, inputs)

    def forward(self, embedded: Tensor, inputs: Inputs) -> dict[str, Tensor]:
        """Return the outputs [rows, outputs] of every task in `inputs`: logits or values.

        Args:
            embedded: [tokens, width of the word table], the word embeddings of `inputs.tokens`, perturbed or not.
        """
        parts = self.pool(embedded, inputs).split(list(inputs.sequences.values()))  # of each task, [sequences, width]
        by_task = dict(zip(inputs.sequences, parts, strict=True))
        return {task: self.heads[task](self._features(task, part)) for task, part in by_task.items()}

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return what no task has to itself: the encoder's, the shared layers' and the MLM head's."""
        shared = [self.encoder, self.shared, *([self.mlm_head] if self.mlm_head else [])]
        return [parameter for module in shared for parameter in module.parameters()]

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """Return what a task has to itself: its head's."""
        return list(self.heads[task].parameters())

    def _features(self, task: str, sequences: Tensor) -> Tensor:
        """Turn the features of a task's sequences [sequences, width] into those of its rows [rows, features]."""
        encoding = self.encodings[task]
        if encoding == "separate":
            return self._share(task, PAIR_FEATURES[self.features[task]].function(*sequences.chunk(2)))
        if encoding == "both":
            whole, u, v = sequences.chunk(3)  # [rows, width]
            return torch.cat([self._share(task, whole), cosine(u, v)], dim=-1)
        return self._share(task, sequences)

    def _share(self, task: str, features: Tensor) -> Tensor:
        return self.shared[self.shared_by[task]](features) if task in self.shared_by else features


def _names(shared: Mapping[str, nn.Module], layer: nn.Module) -> str:
    """Name a layer by the tasks that share it."""
    return "+".join(task for task, other in shared.items() if other is layer)
