"""Parameters -> AdamW, and the learning rate as a function of a stage's progress."""

from collections.abc import Iterable

import torch
from torch import nn


def adamw(
    parameters: Iterable[nn.Parameter], *, betas: tuple[float, float], eps: float, weight_decay: float
) -> torch.optim.AdamW:
    """Build AdamW; matrices decay, biases and norms do not. The learning rate is set before every step.

    Source: Loshchilov and Hutter 2019 (decoupled weight decay).
    """
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # The default on a CPU is a loop that takes four times as long as the fused kernel.
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, fused=True)


def warmup_then_decay(done: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rate of the step after `done` of `steps`: linear up to 1, linear down to 0.

    Args:
        warmup: share of the steps in which it rises.
    """
    rising = round(warmup * steps)
    if done < rising:
        return (done + 1) / rising
    return (steps - done) / (steps - rising)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every parameter the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
