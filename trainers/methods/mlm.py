"""Masked language modelling: choose tokens to predict, and mask these tokens in the input."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from trainers.settings import Config
from trainers.tasks import Pairs

MASKED, RANDOM = 0.8, 0.1
"""Shares of the chosen tokens that become the mask token, or a random token. The other chosen tokens stay unchanged."""


class MlmConfig(Config):
    """Settings of masked language modelling."""

    share: Annotated[float, Field(gt=0, lt=1)] | Literal["one"] = Field(
        default=0.15, description="Probability that a token is chosen; or 'one': a single token of each sequence."
    )
    always_mask: bool = Field(
        default=False,
        description="Mask every chosen token; otherwise 80 % are masked, 10 % become random tokens and 10 % stay.",
    )
    pairs: Pairs = Field(default="separate", description="How the sentences of a pair are encoded.")
    head_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before the MLM head.")


def choose_tokens(text: Tensor, offsets: Tensor, share: float | Literal["one"], generator: torch.Generator) -> Tensor:
    """Choose the tokens to predict.

    Args:
        text: [tokens], False for special tokens.
        offsets: [sequences + 1].
        share: probability of each token; or "one" for a single token of each sequence that has any.

    Returns:
        [chosen], ascending positions among all tokens; possibly empty.

    Source: Devlin et al. 2019 (BERT), appendix C.2; one token of each sequence: report 003.
    """
    draws = torch.rand(len(text), generator=generator)
    if share != "one":
        return torch.nonzero(text & (draws < share)).squeeze(-1)
    sequence = torch.repeat_interleave(offsets.diff(), output_size=len(text))  # [tokens]
    order = torch.argsort(2.0 * sequence.double() + torch.where(text, draws, -0.5))  # by sequence, then by draw
    last = order[offsets[1:] - 1]  # [sequences]: each sequence's largest draw; a special token only without any text
    return last[text[last]].sort().values


def mask_tokens(
    tokens: Tensor, chosen: Tensor, mask: int, vocabulary: int, always: bool, generator: torch.Generator
) -> Tensor:
    """Replace most of the `chosen` [chosen] positions of `tokens` [tokens] by the mask, and a few by random tokens.

    Args:
        mask: id of the mask token.
        vocabulary: number of tokens in the vocabulary.
        always: replace every chosen token by the mask.
    """
    kind = torch.rand(len(chosen), generator=generator).to(tokens.device)  # [chosen]
    other = torch.randint(vocabulary, (len(chosen),), generator=generator).to(tokens.device)
    replaced = torch.where(kind < MASKED + RANDOM, other, tokens[chosen])
    replaced = torch.where((kind < MASKED) | always, mask, replaced)
    return tokens.index_copy(0, chosen, replaced)
