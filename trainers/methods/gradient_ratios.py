"""Measure each regulariser's gradient relative to the gradient of its task's own loss."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from model.multitask import Multitask
from trainers.methods.objectives import Loss

INERT, DOMINANT = 1e-3, 10.0
"""Ratios below INERT and above DOMINANT lead to a remark about the regulariser's weight."""


def probed_parameters(model: Multitask) -> list[nn.Parameter]:
    """List the trainable parameters from the encoder's last layer upwards; gradient ratios are measured on these.

    Ratios on all parameters of MiniLM are up to a third higher. They take as long as two steps with SMART; ratios on
    these parameters take at most a tenth of that time.
    """
    below = {parameter for block in model.encoder.blocks()[:-2] for parameter in block}
    return [parameter for parameter in model.parameters() if parameter.requires_grad and parameter not in below]


def gradient_ratios(losses: Mapping[str, Loss], parameters: Sequence[nn.Parameter]) -> dict[str, float]:
    """Return the norm of each regulariser's weighted gradient divided by that of the task's own loss.

    The graph is kept, and no `.grad` changes.

    Returns:
        "task.regulariser" -> ratio. Tasks whose own loss has no gradient for the parameters are left out.
    """
    ratios: dict[str, float] = {}
    for task, loss in losses.items():
        own = _gradient_norm(loss.terms["loss"], parameters) if loss.weights else 0.0
        if own:
            for name, weight in loss.weights.items():
                ratios[f"{task}.{name}"] = weight * _gradient_norm(loss.terms[name], parameters) / own
    return ratios


def remarks(ratios: Mapping[str, float]) -> dict[str, str]:
    """Return a remark for each ratio that shows an inert or a dominant regulariser, by the ratio's name."""
    found: dict[str, str] = {}
    for name, ratio in ratios.items():
        task, _, regulariser = name.partition(".")
        if ratio < INERT:
            found[name] = f"{regulariser} of {task} is inert: its gradient is {ratio:.1g} times the task loss's."
        if ratio > DOMINANT:
            found[name] = f"{regulariser} of {task} dominates: its gradient is {ratio:.0f} times the task loss's."
    return found


def _gradient_norm(term: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True) if parameters else ()
    norms = [gradient.norm() for gradient in gradients if gradient is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0  # with a frozen encoder, a task may use no parameter
