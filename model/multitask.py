"""The multitask model: one encoder and one head per task. A batch of several tasks is one flat list of tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.encoder import Encoder
from model.heads import PAIR_FEATURES, cosine


@dataclass(frozen=True)
class Inputs:
    """Rows of one or several tasks as one flat list of tokens.

    A concatenated row is one sequence. A separately encoded pair is two sequences: all first sides of a task come
    before all second sides. A pair that is encoded both ways is three sequences: all concatenated sequences come
    first, then all first sides, then all second sides.
    """

    tokens: Tensor
    """[tokens], int64."""
    segments: Tensor
    """[tokens], int64: 1 in the second sentence of a concatenated pair, else 0."""
    offsets: Tensor
    """[sequences + 1], int64: the start of each sequence and the end of the last. Always on the CPU: a forward pass
    computes the layout of a batch there and never waits for a GPU to return a length.
    """
    sequences: dict[str, int]
    """Number of sequences of each task, in the order of the flat list."""

    def to(self, device: torch.device | str) -> "Inputs":
        """Return the same rows on another device."""
        tokens, segments = (each.to(device, non_blocking=True) for each in (self.tokens, self.segments))
        return Inputs(tokens, segments, self.offsets, self.sequences)


def pooled(encoder: Encoder, embedded: Tensor, inputs: Inputs) -> Tensor:
    """Return the encoder's pooled features of each sequence's first token, [sequences, width]."""
    return encoder.pool(first(encoder, embedded, inputs))


def first(encoder: Encoder, embedded: Tensor, inputs: Inputs) -> Tensor:
    """Return the hidden state of each sequence's first token, [sequences, width]."""
    return encoder.encode_first(embedded, inputs.offsets, inputs.segments)


def mean(encoder: Encoder, embedded: Tensor, inputs: Inputs) -> Tensor:
    """Return the mean hidden state of each sequence's tokens, special tokens included, [sequences, width]."""
    hidden = encoder.encode(embedded, inputs.offsets, inputs.segments)  # [tokens, width]
    lengths = inputs.offsets.diff()  # [sequences]
    owners = torch.arange(len(lengths)).repeat_interleave(lengths).to(hidden.device)  # [tokens]
    sums = hidden.new_zeros(len(lengths), hidden.shape[1]).index_add(0, owners, hidden)  # [sequences, width]
    return sums / lengths[:, None].to(hidden.device)


POOLINGS: dict[str, Callable[[Encoder, Tensor, Inputs], Tensor]] = {"pooled": pooled, "first": first, "mean": mean}
"""(encoder, word embeddings [tokens, width], inputs) -> features of each sequence [sequences, width]."""


class Multitask(nn.Module):
    """An encoder that all tasks share, layers that some tasks share, and one head per task.

    Args:
        encoder: the encoder of all tasks.
        heads: task -> module that maps [rows, features] to [rows, outputs].
        encodings: task -> encoding of its rows, as `Inputs` describes it: "concatenated" (the default), "separate" or
            "both".
        features: task with separately encoded pairs -> how both sides are combined, a name in `PAIR_FEATURES`.
        shared: task -> layer between the task's features and its head; tasks that share a layer have the same object.
        pooling: how the hidden states of a sequence become its features, a name in `POOLINGS`.
        mlm_head: the head of further pretraining, which predicts masked tokens; no task uses it.
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
        self.shared_by = {task: _layer_name(shared, layer) for task, layer in shared.items()}
        self.shared = nn.ModuleDict({self.shared_by[task]: layer for task, layer in shared.items()})

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the word embeddings [tokens, width of the word table] of `tokens` [tokens]."""
        return self.encoder.embed(tokens)

    def pool(self, embedded: Tensor, inputs: Inputs) -> Tensor:
        """Return the features of each sequence [sequences, width]; arguments as in `forward`."""
        return self.pooling(self.encoder, embedded, inputs)

    def forward(self, embedded: Tensor, inputs: Inputs) -> dict[str, Tensor]:
        """Return the outputs of each task in `inputs`, logits or values [rows, outputs].

        Args:
            embedded: [tokens, width of the word table], the word embeddings of `inputs.tokens`, possibly perturbed.
        """
        parts = self.pool(embedded, inputs).split(list(inputs.sequences.values()))  # per task [sequences, width]
        by_task = dict(zip(inputs.sequences, parts, strict=True))
        return {task: self.heads[task](self._features(task, part)) for task, part in by_task.items()}

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the encoder, the shared layers and the MLM head."""
        shared = [self.encoder, self.shared, *([self.mlm_head] if self.mlm_head else [])]
        return [parameter for module in shared for parameter in module.parameters()]

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """Return the parameters of one task only: those of its head."""
        return list(self.heads[task].parameters())

    def _features(self, task: str, sequences: Tensor) -> Tensor:
        """Return the features of a task's rows [rows, features] from those of its sequences [sequences, width]."""
        encoding = self.encodings[task]
        if encoding == "separate":
            return self._share(task, PAIR_FEATURES[self.features[task]].function(*sequences.chunk(2)))
        if encoding == "both":
            whole, u, v = sequences.chunk(3)  # [rows, width]
            return torch.cat([self._share(task, whole), cosine(u, v)], dim=-1)
        return self._share(task, sequences)

    def _share(self, task: str, features: Tensor) -> Tensor:
        return self.shared[self.shared_by[task]](features) if task in self.shared_by else features


def _layer_name(shared: Mapping[str, nn.Module], layer: nn.Module) -> str:
    """Return the name of a shared layer: the tasks that share it, joined by "+"."""
    return "+".join(task for task, other in shared.items() if other is layer)
