"""A network above its embeddings -> how far its predictions move when the embeddings move a little: SMART."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Self

import pydantic
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from torch import Tensor, nn

from trainers.methods.divergences import Divergence
from trainers.settings import Config, name_check


@dataclass(frozen=True)
class Norm:
    """What bounds a perturbation [tokens, width] of a flat list of tokens with offsets [sequences + 1]."""

    unit: Callable[[Tensor, Tensor], Tensor]
    """(gradient, offsets) -> the direction of norm 1 that climbs fastest; 0 where the gradient is 0."""
    project: Callable[[Tensor, Tensor, float], Tensor]
    """(perturbation, offsets, radius) -> the nearest perturbation within the radius."""


def smoothness(
    predict: Callable[[Tensor], dict[str, Tensor]],
    embedded: Tensor,
    clean: dict[str, Tensor],
    noise: Tensor,
    offsets: Tensor,
    divergences: dict[str, Divergence],
    *,
    norm: str = "l2_token",
    radius: float,
    step_size: float,
    ascent_steps: int,
    parameters: Sequence[nn.Parameter],
) -> dict[str, Tensor]:
    """Measure how far predictions move when the embeddings move within a ball in their worst direction.

    The gradient passes through both predictions, but not through the search for the direction, which leaves every
    parameter's `.grad` alone. All tasks share each pass: a token belongs to one task, and a direction has no scale.

    Args:
        predict: the network above the embeddings, [tokens, width] -> outputs [rows, outputs] by task. It repeats the
            dropout masks of `clean`; with other masks the result would measure dropout.
        embedded: [tokens, width].
        clean: [rows, outputs] by task, `predict(embedded)` with its graph.
        noise: [tokens, width], where the search starts. Not 0, where the gradient of every divergence is 0, and short
            against `step_size`: what is left of it is not in the worst direction.
        offsets: [sequences + 1], on the CPU.
        divergences: of each task that is to be smooth.
        norm: a key of `NORMS`.
        radius: bound on the perturbation (epsilon).
        step_size: length of an ascent step (eta).
        ascent_steps: how many (K).
        parameters: of `predict`. The search leaves them out of its graph, where a `Watch` would find gradients.

    Returns:
        [] by task, the mean divergence of its rows.

    Source: Jiang et al. 2020 (SMART), equation 2 and algorithm 1.
    """
    ball, target = NORMS[norm], {task: clean[task].detach() for task in divergences}
    perturbation = noise
    for _ in range(ascent_steps):
        start = perturbation.detach().requires_grad_()
        with constant(parameters):
            moved = _means(divergences, predict(embedded.detach() + start), target)
        (gradient,) = torch.autograd.grad(torch.stack(list(moved.values())).sum(), start)
        perturbation = ball.project(start.detach() + step_size * ball.unit(gradient, offsets), offsets, radius)
    # Neither side is detached: their gradients nearly cancel, and half of them points elsewhere.
    return _means(divergences, predict(embedded + perturbation), clean)


@contextmanager
def constant(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Leave parameters out of the graphs of what is computed inside."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def token_norms(values: Tensor, offsets: Tensor) -> Tensor:
    """Return the L2 norm [tokens, 1] of each token of `values` [tokens, width]."""
    return torch.linalg.vector_norm(values, dim=-1, keepdim=True)


def sentence_norms(values: Tensor, offsets: Tensor) -> Tensor:
    """Return for each token the L2 norm [tokens, 1] of its whole sequence in `values` [tokens, width]."""
    lengths = offsets.diff()
    sequence = torch.arange(len(lengths)).repeat_interleave(lengths).to(values.device)  # [tokens]
    squares = values.new_zeros(len(lengths)).index_add(0, sequence, values.square().sum(-1))  # [sequences]
    return squares.sqrt()[sequence, None]


def _l2(norms: Callable[[Tensor, Tensor], Tensor]) -> Norm:
    """Bound the L2 norms that a function finds."""

    def unit(gradient: Tensor, offsets: Tensor) -> Tensor:
        return gradient / _positive(norms(gradient, offsets))

    def project(perturbation: Tensor, offsets: Tensor, radius: float) -> Tensor:
        return perturbation * (radius / _positive(norms(perturbation, offsets))).clamp(max=1)

    return Norm(unit, project)


def _positive(norms: Tensor) -> Tensor:
    """Keep 0 / 0 out: the smallest number that is not a rounded one, far below any gradient's norm."""
    return norms.clamp_min(torch.finfo(norms.dtype).tiny)


NORMS: dict[str, Norm] = {
    "l2_token": _l2(token_norms),
    "l2_sentence": _l2(sentence_norms),
    # The dual of a bound on every coordinate is the sign; dividing by the largest would leave most of them behind.
    "linf": Norm(
        unit=lambda gradient, offsets: gradient.sign(),
        project=lambda perturbation, offsets, radius: perturbation.clamp(-radius, radius),
    ),
}


class SmartConfig(Config):
    """Smoothness-inducing adversarial regularisation."""

    lambda_s: NonNegativeFloat = Field(default=0.0, description="Weight of the smoothness term; 0 leaves it out.")
    norm: str = Field(default="l2_token", description="What the radius bounds.")
    radius: PositiveFloat = Field(default=0.03, description="Epsilon: bound on a perturbation of word embeddings.")
    step_size: PositiveFloat = Field(default=0.03, description="Eta: length of an ascent step.")
    # A hundredth of the radius: sigma is a coordinate's, and over 384 of them a tenth is twice the radius, so that the
    # noise would set the direction (measured on MiniLM: R is 4 times smaller).
    noise_scale: PositiveFloat = Field(default=0.0003, description="Sigma: standard deviation of the first noise.")
    ascent_steps: PositiveInt = Field(default=1, description="K.")
    dropout: Literal["tied", "off", "untied"] = Field(
        default="tied", description="Masks of the two branches: the same, none, or each its own."
    )
    every: PositiveInt = Field(default=1, description="Only in every so manieth step, with as many times the weight.")
    share: float = Field(default=1.0, gt=0, le=1, description="Of a batch's rows, with the others left alone.")

    _norm = field_validator("norm")(name_check(NORMS))

    @pydantic.model_validator(mode="after")
    def _effective(self) -> Self:
        if not self.lambda_s and self.model_fields_set - {"lambda_s"} and self != SmartConfig():
            raise ValueError("SMART's settings have no effect with lambda_s 0; give it a weight, or leave them out")
        return self


def _means(divergences: dict[str, Divergence], left: dict[str, Tensor], right: dict[str, Tensor]) -> dict[str, Tensor]:
    """Average each task's divergence over its rows."""
    return {task: divergence(left[task], right[task]).mean() for task, divergence in divergences.items()}
