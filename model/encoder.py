"""The interface of all encoders, and the functions that build a pretrained encoder and its MLM head."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from model.bert import Bert, BertConfig
from model.mlm_head import MaskedLanguageHead
from model.transformers_encoder import TransformersConfig, TransformersEncoder


class Encoder(Protocol):
    """A module that turns a flat list of tokens into one vector per token or per sequence; arguments as in `Bert`.

    The vectors of a sequence do not depend on the other sequences of the batch. Dropout depends on torch's global
    generator.
    """

    width: int
    """Width of hidden states and of the features that `pool` returns."""
    positions: int
    """Largest number of tokens in a sequence."""

    @property
    def word(self) -> nn.Embedding:
        """The word embedding table; it may be narrower than hidden states."""
        ...

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the word embeddings [tokens, width of the word table] of `tokens` [tokens]."""
        ...

    def encode(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each token, [tokens, width]."""
        ...

    def encode_first(self, embedded: Tensor, offsets: Tensor, segments: Tensor) -> Tensor:
        """Return the hidden state of each sequence's first token, [sequences, width]."""
        ...

    def pool(self, first: Tensor) -> Tensor:
        """Return the features [sequences, width] of sequences, from the hidden states of their first tokens."""
        ...

    def blocks(self) -> list[list[nn.Parameter]]:
        """List the parameters block by block: the embeddings, each layer from the bottom up, the pooler.

        Every parameter is in exactly one block.
        """
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over all parameters."""
        ...


@dataclass(frozen=True)
class Pretrained:
    """A pretrained encoder, as training reads it."""

    config: BertConfig | TransformersConfig
    weights: dict[str, Tensor]
    """The weights, under the names of the encoder's `state_dict()`."""
    tokenizer: str
    """The text of a tokenizer.json that neither truncates nor pads."""
    mlm_head: dict[str, Tensor] = field(default_factory=dict)
    """The weights of the MLM head, under the names of `MaskedLanguageHead.state_dict()`; empty if the checkpoint has no
    head of that form."""
    notes: tuple[str, ...] = ()
    """Lines for the user about the checkpoint; an encoder that a run stores has none."""
    has_pooler: bool = True
    """Whether the checkpoint has a pooler; if not, the weights have a drawn one."""

    def remarks(self, *, pooled: bool) -> list[str]:
        """Return lines for the user about the checkpoint.

        Args:
            pooled: whether a config uses the pooler.
        """
        drawn = (
            "The encoder has no pooler. One is drawn, the same for every seed; pooling `first` and `mean` need none."
        )
        return [*self.notes, *([drawn] if pooled and not self.has_pooler else [])]


def build_encoder(
    pretrained: Pretrained, dropout: float, attention_dropout: float, *, low_precision: bool = False
) -> Encoder:
    """Build an encoder with copies of the pretrained weights."""
    config, dropouts = pretrained.config, (dropout, attention_dropout)
    if isinstance(config, BertConfig):
        with torch.device("meta"):  # avoids drawing initial weights, which takes most of the time
            encoder = Bert(config, *dropouts, low_precision=low_precision)
        encoder.to_empty(device="cpu")
    else:
        encoder = TransformersEncoder(config, *dropouts, low_precision=low_precision)
    encoder.load_state_dict(pretrained.weights)
    return encoder


def build_mlm_head(pretrained: Pretrained, encoder: Encoder, dropout: float) -> MaskedLanguageHead:
    """Build the MLM head of an encoder; if the checkpoint has no MLM head, draw the weights."""
    vocabulary, table_width = encoder.word.weight.shape
    head = MaskedLanguageHead(
        encoder.width, table_width, vocabulary, norm_eps=pretrained.config.norm_eps, dropout=dropout
    )
    if pretrained.mlm_head:
        head.load_state_dict(pretrained.mlm_head)
    return head
