"""Tokens -> which are hidden, and what stands in their places: masked language modelling."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from trainers.settings import Config
from trainers.tasks import Pairs

MASKED, RANDOM = 0.8, 0.1
"""Shares of the chosen tokens that become the mask, or any token; the others stay."""


class MlmConfig(Config):
    """Which tokens are hidden, and how."""

    share: Annotated[float, Field(gt=0, lt=1)] | Literal["one"] = Field(
        default=0.15, description="Of a sequence's tokens; or one of each sequence."
    )
    always_mask: bool = Field(default=False, description="Hide every chosen token; else 10 % stay, 10 % are random.")
    pairs: Pairs = Field(default="separate", description="How a row's sides are read.")
    head_dropout: float = Field(default=0.0, ge=0, lt=1)


def choose(text: Tensor, offsets: Tensor, share: float | Literal["one"], generator: torch.Generator) -> Tensor:
    """Choose the tokens that are to be guessed.

    Args:
        text: [tokens], True where there is no special token.
        offsets: [sequences + 1].
        share: probability of each token; or "one" of each sequence that has any.

    Returns:
        [chosen], places among the tokens, rising; there may be none.

    Source: Devlin et al. 2019 (BERT), appendix C.2; one a sequence: report 003.
    """
    draws = torch.rand(len(text), generator=generator)
    if share != "one":
        return torch.nonzero(text & (draws < share)).squeeze(-1)
    sequence = torch.repeat_interleave(offsets.diff(), output_size=len(text))  # [tokens]
    order = torch.argsort(2.0 * sequence.double() + torch.where(text, draws, -0.5))  # by sequence, then by draw
    last = order[offsets[1:] - 1]  # [sequences]: of each, the largest draw, a special token's only if there is no other
    return last[text[last]].sort().values


def hide(
    tokens: Tensor, chosen: Tensor, mask: int, vocabulary: int, always: bool, generator: torch.Generator
) -> Tensor:
    """Replace most of the `chosen` [chosen] among `tokens` [tokens] by the mask, and a few by any token.

    Args:
        mask: its id.
        vocabulary: how many tokens there are.
        always: replace all by the mask.
    """
    kind = torch.rand(len(chosen), generator=generator).to(tokens.device)  # [chosen]
    other = torch.randint(vocabulary, (len(chosen),), generator=generator).to(tokens.device)
    shown = torch.where(kind < MASKED + RANDOM, other, tokens[chosen])
    shown = torch.where((kind < MASKED) | always, mask, shown)
    return tokens.index_copy(0, chosen, shown)
