"""Losses -> how much each regulariser pulls at the weights, against its task's own loss."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from model.multitask import Multitask
from trainers.methods.objectives import Loss

INERT, DOMINANT = 1e-3, 10.0
"""Ratios below and above which a regulariser's weight is worth a remark."""


def probed_parameters(model: Multitask) -> list[nn.Parameter]:
    """List what trains from the encoder's last layer up: where ratios are measured.

    On all of MiniLM they are up to a third higher, and take as long as two steps with SMART; these a tenth at most.
    """
    below = {parameter for block in model.encoder.blocks()[:-2] for parameter in block}
    return [parameter for parameter in model.parameters() if parameter.requires_grad and parameter not in below]


def gradient_ratios(losses: Mapping[str, Loss], parameters: Sequence[nn.Parameter]) -> dict[str, float]:
    """Return the norm of each regulariser's weighted gradient over that of its task's own loss.

    The graph is kept, and no `.grad` changes.

    Returns:
        "task.regulariser" -> ratio; without those of a loss that has no gradient for the parameters.
    """
    ratios: dict[str, float] = {}
    for task, loss in losses.items():
        own = _norm(loss.terms["loss"], parameters) if loss.weights else 0.0
        if own:
            for name, weight in loss.weights.items():
                ratios[f"{task}.{name}"] = weight * _norm(loss.terms[name], parameters) / own
    return ratios


def remarks(ratios: Mapping[str, float]) -> dict[str, str]:
    """Say, by name of the ratio, which regularisers do next to nothing, or leave next to nothing to their task."""
    found: dict[str, str] = {}
    for name, ratio in ratios.items():
        task, _, regulariser = name.partition(".")
        if ratio < INERT:
            found[name] = f"{regulariser} of {task} is inert: its gradient is {ratio:.1g} of the task's own."
        if ratio > DOMINANT:
            found[name] = f"{regulariser} of {task} drowns the task: its gradient is {ratio:.0f} times the task's own."
    return found


def _norm(term: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True) if parameters else ()
    norms = [gradient.norm() for gradient in gradients if gradient is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0  # a frozen encoder may leave a task nothing shared
