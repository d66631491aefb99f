"""Weights that follow others slowly: averages to evaluate, and the teacher of the proximal term."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from trainers.settings import Config

TAIL = 0.25
"""Share of a stage's steps, its last, that stochastic weight averaging takes the mean of."""


class AveragingConfig(Config):
    """Which average of the weights is evaluated, saved as a round's weights, and used by ensembles."""

    kind: Literal["none", "ema", "swa"] = "none"
    beta: float = Field(default=0.999, ge=0, lt=1, description="Share of the moving average (ema) that a step leaves.")


@torch.no_grad()
def follow(copy: nn.Module, model: nn.Module, share: float) -> None:
    """Move the weights of a copy towards those of its model, in place, by a share of the way."""
    for mine, other in zip(copy.parameters(), model.parameters(), strict=True):
        mine.lerp_(other, share)


def average_share(averaging: AveragingConfig, done: int, steps: int) -> float:
    """Return the share of the way that the average moves after a step.

    A moving average leaves its start behind quickly: of 0 earlier steps it keeps a tenth. The equal mean is over the
    last quarter of the steps; up to there it is the weights themselves.

    Args:
        done: steps of the stage before this one.
        steps: of the stage.

    Source: Izmailov et al. 2018 (SWA), whose mean of epochs' ends is one of steps here: fine-tuning has few epochs.
    """
    if averaging.kind == "ema":
        return 1 - min(averaging.beta, (1 + done) / (10 + done))
    first = min(int((1 - TAIL) * steps), steps - 1)
    return 1 / (max(0, done - first) + 1)
