"""Parameters -> AdamW, and the learning rate as a function of a stage's progress and a parameter's depth."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn


def adamw(
    blocks: Sequence[tuple[Iterable[nn.Parameter], float]],
    *,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    """Build AdamW; matrices decay, biases and norms do not. The learning rate is set before every step.

    Args:
        blocks: parameters, and what their learning rate is multiplied by.

    Source: Loshchilov and Hutter 2019 (decoupled weight decay).
    """
    _leave_compiler_out()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameters, scale in blocks:
        for parameter in parameters:
            groups.setdefault((weight_decay if parameter.ndim > 1 else 0.0, scale), []).append(parameter)
    # The default on a CPU is a loop that takes four times as long as the fused kernel.
    return torch.optim.AdamW(
        [{"params": params, "weight_decay": decay, "scale": scale} for (decay, scale), params in groups.items()],
        lr=0.0,
        betas=betas,
        eps=eps,
        fused=True,
    )


def layer_scales(blocks: int, decay: float) -> list[float]:
    """Return what the learning rate of each block of an encoder is multiplied by, from the embeddings to the pooler.

    The pooler and the topmost layer learn at the full rate, each layer below at `decay` times that of the one above.

    Source: Howard and Ruder 2018 (ULMFiT), discriminative fine-tuning.
    """
    return [decay ** max(0, blocks - 2 - place) for place in range(blocks)]


def warmup_then_decay(done: int, steps: int, warmup: float, decay: bool = True) -> float:
    """Return the factor on the learning rate of the step after `done` of `steps`: linear up to 1, linear down to 0.

    Args:
        warmup: share of the steps in which it rises.
        decay: whether it falls afterwards.
    """
    rising = round(warmup * steps)
    if done < rising:
        return (done + 1) / rising
    return (steps - done) / (steps - rising) if decay else 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every parameter the learning rate of the next step, by its scale."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["scale"]


def _leave_compiler_out() -> None:
    """Let optimisers do without torch's compiler, which the first call of one loads: half of a trial's start.

    What it must not compile, torch wraps in functions that load it to be told so; nothing is compiled here. A torch
    that wraps them otherwise loads it again, and all else stays as it is.
    """
    optimizer = torch.optim.Optimizer
    for method in (optimizer.add_param_group, optimizer.zero_grad, optimizer.state_dict, optimizer.load_state_dict):
        if wrapped := getattr(method, "__wrapped__", None):
            wrapped.__dynamo_disable = wrapped
