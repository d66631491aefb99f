"""SMART: smoothness-inducing adversarial regularisation of predictions around the word embeddings."""

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
    """A norm that bounds perturbations [tokens, width] of a flat list of tokens with offsets [sequences + 1]."""

    unit: Callable[[Tensor, Tensor], Tensor]
    """(gradient, offsets) -> the direction of steepest ascent with norm 1; 0 where the gradient is 0."""
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
    """Return the divergence between predictions on clean and on adversarially perturbed embeddings.

    The search for the worst perturbation within the radius changes no parameter's `.grad`. The gradient of the result
    flows through both predictions, but not through the search. One search serves all tasks: each token belongs to one
    task, and normalised directions do not depend on the scale of a task's divergence.

    Args:
        predict: the network above the embeddings, [tokens, width] -> outputs [rows, outputs] by task. Its dropout masks
            equal those of `clean`; with different masks the result would measure dropout.
        embedded: [tokens, width], the clean embeddings.
        clean: [rows, outputs] by task, `predict(embedded)` with its graph.
        noise: [tokens, width], the start of the search. It must not be 0, because there the gradient of every
            divergence is 0; it should be small relative to `step_size`, because it is not in the worst direction.
        offsets: [sequences + 1], on the CPU.
        divergences: of each task that is regularised.
        norm: a key of `NORMS`.
        radius: bound on the perturbation (epsilon).
        step_size: length of an ascent step (eta).
        ascent_steps: number of ascent steps (K).
        parameters: the parameters of `predict`. The graph of the search excludes them, so that hooks on their gradients
            do not run.

    Returns:
        [] by task, the mean divergence over its rows.

    Source: Jiang et al. 2020 (SMART), equation 2 and algorithm 1.
    """
    bound, target = NORMS[norm], {task: clean[task].detach() for task in divergences}
    perturbation = noise
    for _ in range(ascent_steps):
        start = perturbation.detach().requires_grad_()
        with frozen(parameters):
            moved = _means(divergences, predict(embedded.detach() + start), target)
        (gradient,) = torch.autograd.grad(torch.stack(list(moved.values())).sum(), start)
        perturbation = bound.project(start.detach() + step_size * bound.unit(gradient, offsets), offsets, radius)
    # Neither side is detached: their gradients nearly cancel, and one of them alone has a different direction.
    return _means(divergences, predict(embedded + perturbation), clean)


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Exclude parameters from the graphs that are built inside this context."""
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
    """Return, for each token, the L2 norm [tokens, 1] of its whole sequence in `values` [tokens, width]."""
    lengths = offsets.diff()
    sequence = torch.arange(len(lengths)).repeat_interleave(lengths).to(values.device)  # [tokens]
    squares = values.new_zeros(len(lengths)).index_add(0, sequence, values.square().sum(-1))  # [sequences]
    return squares.sqrt()[sequence, None]


def _l2(norms: Callable[[Tensor, Tensor], Tensor]) -> Norm:
    """Return the bound on L2 norms that `norms` computes, per token or per sequence."""

    def unit(gradient: Tensor, offsets: Tensor) -> Tensor:
        return gradient / _positive(norms(gradient, offsets))

    def project(perturbation: Tensor, offsets: Tensor, radius: float) -> Tensor:
        return perturbation * (radius / _positive(norms(perturbation, offsets))).clamp(max=1)

    return Norm(unit, project)


def _positive(norms: Tensor) -> Tensor:
    """Replace 0 by the smallest normal number, far below any gradient's norm, to avoid 0 / 0."""
    return norms.clamp_min(torch.finfo(norms.dtype).tiny)


NORMS: dict[str, Norm] = {
    "l2_token": _l2(token_norms),
    "l2_sentence": _l2(sentence_norms),
    # The steepest direction under a bound on each coordinate is the sign of the gradient. Dividing by the largest
    # coordinate instead would leave most coordinates far from the bound.
    "linf": Norm(
        unit=lambda gradient, offsets: gradient.sign(),
        project=lambda perturbation, offsets, radius: perturbation.clamp(-radius, radius),
    ),
}


class SmartConfig(Config):
    """Settings of SMART, the smoothness-inducing adversarial regularisation."""

    lambda_s: NonNegativeFloat = Field(default=0.0, description="Weight of the smoothness term; 0 turns SMART off.")
    norm: str = Field(
        default="l2_token",
        description="Norm that the radius bounds: l2_token (each token), l2_sentence (each sequence) or linf.",
    )
    radius: PositiveFloat = Field(
        default=0.03, description="Largest norm of the perturbation of the word embeddings (epsilon)."
    )
    step_size: PositiveFloat = Field(default=0.03, description="Length of an ascent step (eta).")
    # A hundredth of the radius. Sigma is the deviation of one coordinate: over MiniLM's 384 coordinates, a tenth of the
    # radius gives noise twice as long as the radius, and the noise would determine the direction (measured on MiniLM:
    # the smoothness term is 4 times smaller).
    noise_scale: PositiveFloat = Field(
        default=0.0003, description="Standard deviation of the noise that the search for the perturbation starts from."
    )
    ascent_steps: PositiveInt = Field(default=1, description="Number of ascent steps (K).")
    dropout: Literal["tied", "off", "untied"] = Field(
        default="tied",
        description="Dropout of the clean and the perturbed pass: the same masks (tied), none (off) or different masks "
        "(untied).",
    )
    every: PositiveInt = Field(default=1, description="Apply SMART every N-th step only, with N times the weight.")
    share: float = Field(default=1.0, gt=0, le=1, description="Share of a batch's rows that SMART is applied to.")

    _norm = field_validator("norm")(name_check(NORMS))

    @pydantic.model_validator(mode="after")
    def _effective(self) -> Self:
        if not self.lambda_s and self.model_fields_set - {"lambda_s"} and self != SmartConfig():
            raise ValueError("SMART's settings have no effect with lambda_s 0. Set lambda_s, or leave the settings out")
        return self


def _means(divergences: dict[str, Divergence], left: dict[str, Tensor], right: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return each task's mean divergence [] over its rows."""
    return {task: divergence(left[task], right[task]).mean() for task, divergence in divergences.items()}
