"""The masked-language-model (MLM) head of BERT: predict words from the hidden states of masked tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.bert import Linear
from model.dropout import Dropout


class MaskedLanguageHead(nn.Module):
    """A dense layer with norm, then the transposed word table of the encoder as output layer, with its own bias.

    Args:
        width: width of hidden states.
        table_width: width of the word table.

    Source: Devlin et al. 2019 (BERT), task 1; the tied table: Press and Wolf 2017.
    """

    def __init__(self, width: int, table_width: int, vocabulary: int, *, norm_eps: float = 1e-12, dropout: float = 0.0):
        super().__init__()
        self.dense = Linear(width, table_width)
        self.norm = nn.LayerNorm(table_width, norm_eps)
        self.dropout = Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden: Tensor, word: Tensor) -> Tensor:
        """Return the logits [chosen, vocabulary] of the chosen tokens.

        Args:
            hidden: [chosen, width], hidden states of the chosen tokens only: logits of all tokens would cost more
                than the encoder.
            word: [vocabulary, table_width], the encoder's word table; the head's gradient trains it, too.
        """
        transformed = self.norm(functional.gelu(self.dense(hidden)))  # [chosen, table_width]
        return functional.linear(self.dropout(transformed), word, self.bias)
