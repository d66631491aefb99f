"""Regularisers: terms that are added to the losses of tasks in supervised training."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from trainers.methods.divergences import DIVERGENCES
from trainers.methods.forward import Forward, Outputs
from trainers.methods.smart import smoothness
from trainers.seeds import generator

Clean = list[Outputs]
"""Outputs of the clean pass, and of a second pass with other dropout masks if a regulariser needs it."""


@dataclass(frozen=True)
class Regulariser:
    """A term that is added to the losses."""

    term: Callable[[Forward, Clean], dict[str, Tensor]]
    """(forward pass, its clean outputs) -> [] by task, unweighted."""
    clean_passes: int = 1
    """Number of clean passes that the term compares. A task's own loss is the mean over the clean passes."""


def smart_term(forward: Forward, clean: Clean) -> dict[str, Tensor]:
    """Return SMART's term: the divergence between predictions on clean and on adversarially perturbed embeddings.

    By default both predictions have the same dropout masks ("tied"). Different masks change the predictions 10,000
    times more than a perturbation of the papers' radius does. Reports 000 and 001 turn dropout off for both predictions
    ("off"), which costs a second clean pass.

    Source: Jiang et al. 2020 (SMART), equation 2.
    """
    smart = forward.smart
    predict, outputs = BRANCHES[smart.dropout](forward, clean)
    draws = _token_noise(forward.seed, forward.place, len(forward.batch.drawn.tokens), forward.embedded.shape[-1])
    noise = forward.batch.own(draws).to(forward.embedded.device)
    return smoothness(
        predict,
        forward.embedded,
        outputs,
        smart.noise_scale * noise,
        forward.batch.inputs.offsets,
        {name: DIVERGENCES[task.kind] for name, task in forward.batch.tasks.items()},
        norm=smart.norm,
        radius=smart.radius,
        step_size=smart.step_size,
        ascent_steps=smart.ascent_steps,
        parameters=list(forward.model.parameters()),
    )


@lru_cache(maxsize=1)
def _token_noise(seed: int, place: tuple[int | str, ...], tokens: int, width: int) -> Tensor:
    """Draw noise [tokens, width] for a forward group; the cache serves its micro-batches, which follow each other."""
    return torch.randn((tokens, width), generator=generator(seed, *place, "noise"))


BRANCHES: dict[str, Callable[[Forward, Clean], tuple[Callable[[Tensor], Outputs], Outputs]]] = {
    "tied": lambda forward, clean: (forward.outputs, clean[0]),
    "off": lambda forward, clean: (forward.outputs_without_dropout, forward.outputs_without_dropout(forward.embedded)),
    "untied": lambda forward, clean: (partial(forward.outputs, masks="perturbed dropout"), clean[0]),
}
"""`smart.dropout` -> the prediction function for perturbed embeddings, and the clean outputs to compare with."""


def bregman_term(forward: Forward, clean: Clean) -> dict[str, Tensor]:
    """Return the proximal term: the divergence between the predictions of the model and of its teacher.

    Source: Jiang et al. 2020 (SMART), section 3.2, momentum form.
    """
    return forward.divergences(clean[0], forward.teacher_outputs())


def r_drop_term(forward: Forward, clean: Clean) -> dict[str, Tensor]:
    """Return R-Drop's term: a quarter of the divergence between two passes with different dropout masks.

    The weight then means the same as the paper's alpha. The paper takes half of the divergence and adds up the losses
    of both passes; our loss is their mean.

    Source: Liang et al. 2021 (R-Drop), equation 4.
    """
    return {task: divergence / 4 for task, divergence in forward.divergences(*clean).items()}


REGULARISERS: dict[str, Regulariser] = {
    "smart": Regulariser(smart_term),
    "bregman": Regulariser(bregman_term),
    "r_drop": Regulariser(r_drop_term, clean_passes=2),
}
