"""Parameters -> AdamW, and the learning rate as a function of a stage's progress and a parameter's depth."""

import inspect
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
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameters, scale in blocks:
        for parameter in parameters:
            groups.setdefault((weight_decay if parameter.ndim > 1 else 0.0, scale), []).append(parameter)
    # The default on a CPU is a loop that takes four times as long as the fused kernel.
    return _AdamW(
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


class _AdamW(torch.optim.AdamW):
    """AdamW without what torch wraps around it for its compiler: to load that takes a third of a trial's start."""

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
