"""What an encoder is to those who use one, and how a pretrained one is built."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from model.bert import Bert, BertConfig
from model.mlm_head import MaskedLanguageHead
from model.transformers_encoder import TransformersConfig, TransformersEncoder


class Encoder(Protocol):
    """A module from a flat list of tokens to a vector per token or per sequence; `Bert` says what its methods take.

    No sequence's vectors depend on the others of its batch. Dropout follows torch's global generator.
    """

    width: int
    """Of hidden states, and of what `pool` returns."""
    positions: int
    """Tokens of a sequence at most."""

    @property
    def word(self) -> nn.Embedding:
        """The word table, which may be narrower than hidden states."""
        ...

    def embed(self, tokens: Tensor) -> Tensor:
        """Look up the word embeddings alone, [tokens] -> [tokens, width of the word table]."""
        ...

    def encode(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Turn word embeddings into hidden states [tokens, width]."""
        ...

    def encode_first(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each sequence's first token, [sequences, width]."""
        ...

    def pool(self, first: Tensor) -> Tensor:
        """Turn hidden states of first tokens into features of their sequences, [sequences, width] -> the same."""
        ...

    def blocks(self) -> list[list[nn.Parameter]]:
        """List the parameters from the bottom up: embeddings, layer after layer, pooler; each is in one block."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over all parameters."""
        ...


@dataclass(frozen=True)
class Pretrained:
    """An encoder to start from."""

    config: BertConfig | TransformersConfig
    weights: dict[str, Tensor]
    """By the names of the encoder's `state_dict()`."""
    tokenizer: str
    """The text of a tokenizer.json that neither truncates nor pads."""
    mlm_head: dict[str, Tensor] = field(default_factory=dict)
    """By the names of `MaskedLanguageHead.state_dict()`; empty where the checkpoint has none that fits ours."""


def build_encoder(
    pretrained: Pretrained, dropout: float, attention_dropout: float, *, low_precision: bool = False
) -> Encoder:
    """Build an encoder with pretrained weights: copies, which share no memory with those of `pretrained`."""
    config, dropouts = pretrained.config, (dropout, attention_dropout)
    if isinstance(config, BertConfig):
        with torch.device("meta"):  # drawing weights that are replaced would take most of the time
            encoder = Bert(config, *dropouts, low_precision=low_precision)
        encoder.to_empty(device="cpu")
    else:
        encoder = TransformersEncoder(config, *dropouts, low_precision=low_precision)
    encoder.load_state_dict(pretrained.weights)
    return encoder


def build_mlm_head(pretrained: Pretrained, encoder: Encoder, dropout: float) -> MaskedLanguageHead:
    """Build the head of an encoder's masked language model: the checkpoint's own, or where it has none a drawn one."""
    vocabulary, table_width = encoder.word.weight.shape
    head = MaskedLanguageHead(
        encoder.width, table_width, vocabulary, norm_eps=pretrained.config.norm_eps, dropout=dropout
    )
    if pretrained.mlm_head:
        head.load_state_dict(pretrained.mlm_head)
    return head
