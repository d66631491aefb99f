"""AdamW, and its learning rate as a function of the stage's progress and of the parameter's layer."""

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
    """Return AdamW with weight decay for matrices only; `set_learning_rate` must be called before every step.

    Args:
        blocks: pairs of parameters and the factor on their learning rate.

    Source: Loshchilov and Hutter 2019 (decoupled weight decay).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameters, scale in blocks:
        for parameter in parameters:
            groups.setdefault((weight_decay if parameter.ndim > 1 else 0.0, scale), []).append(parameter)
    # On a CPU, the default is a loop that takes four times as long as the fused kernel.
    return _AdamW(
        [{"params": params, "weight_decay": decay, "scale": scale} for (decay, scale), params in groups.items()],
        lr=0.0,
        betas=betas,
        eps=eps,
        fused=True,
    )


def layer_scales(blocks: int, decay: float) -> list[float]:
    """Return the factor on the learning rate of each block of an encoder, from the embeddings to the pooler.

    The factor of the pooler and the top layer is 1; each lower layer has `decay` times the factor of the layer above.

    Source: Howard and Ruder 2018 (ULMFiT), discriminative fine-tuning.
    """
    return [decay ** max(0, blocks - 2 - place) for place in range(blocks)]


def warmup_then_decay(done: int, steps: int, warmup: float, decay: bool = True) -> float:
    """Return the factor on the learning rate of the next step: a linear rise to 1, then a linear fall towards 0.

    Args:
        done: number of earlier steps of the stage.
        steps: number of steps of the stage.
        warmup: share of the steps in which the factor rises.
        decay: whether the factor falls after the warm-up; else it stays 1.
    """
    rising = round(warmup * steps)
    if done < rising:
        return (done + 1) / rising
    return (steps - done) / (steps - rising) if decay else 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of the next step, multiplied by each parameter group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["scale"]


class _AdamW(torch.optim.AdamW):
    """AdamW without the wrappers of torch's compiler, because loading them takes a third of a trial's start-up time."""

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
