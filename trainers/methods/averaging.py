"""Average a model's weights over the steps of a stage, for evaluation."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from trainers.settings import Config

SWA_SHARE = 0.25
"""Share of a stage's steps, at its end, that stochastic weight averaging takes the mean of."""


class AveragingConfig(Config):
    """Settings of the averaged weights, which are evaluated, saved with each round and used in ensembles."""

    kind: Literal["none", "ema", "swa"] = Field(
        default="none",
        description="Kind: none, ema (exponential moving average) or swa (mean of the last quarter).",
    )
    beta: float = Field(
        default=0.999, ge=0, lt=1, description="Decay of the exponential moving average: the share kept at each step."
    )


@torch.no_grad()
def follow(copy: nn.Module, model: nn.Module, share: float) -> None:
    """Move the weights of `copy`, in place, towards the weights of `model` by a share of the distance."""
    for copied, current in zip(copy.parameters(), model.parameters(), strict=True):
        copied.lerp_(current, share)


def average_share(averaging: AveragingConfig, done: int, steps: int) -> float:
    """Return the share of the distance by which the average moves towards the weights after a step.

    The moving average starts with a small decay, (1 + done) / (10 + done), so that it soon forgets the initial weights.
    The equal mean (swa) covers the last quarter of the steps; before that, the average equals the weights.

    Args:
        done: steps of the stage before this step.
        steps: all steps of the stage.

    Source: Izmailov et al. 2018 (SWA) average the weights at the ends of epochs; we average over steps, because
        fine-tuning has few epochs.
    """
    if averaging.kind == "ema":
        return 1 - min(averaging.beta, (1 + done) / (10 + done))
    first = min(int((1 - SWA_SHARE) * steps), steps - 1)
    return 1 / (max(0, done - first) + 1)
