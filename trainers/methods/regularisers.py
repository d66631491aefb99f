"""A clean forward pass -> terms that are added to its tasks' losses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from model.multitask import Inputs, Multitask
from trainers.methods.divergences import DIVERGENCES
from trainers.methods.smart import SmartConfig, smoothness
from trainers.seeds import generator, seed_globally
from trainers.tasks import Task

Outputs = dict[str, Tensor]
"""Task -> [rows, outputs]."""


@dataclass(frozen=True)
class Forward:
    """Rows of some tasks, all under the same regularisers, on their way through a model in training mode."""

    model: Multitask
    inputs: Inputs
    tasks: dict[str, Task]
    embedded: Tensor
    """[tokens, width], looked up once."""
    seed: int
    place: tuple[int | str, ...]
    """Names this forward pass; with the seed, all its draws follow from it."""
    smart: SmartConfig
    teacher: Multitask | None
    """For the proximal term: the slowly moving copy of the model, in training mode."""

    def outputs(self, embedded: Tensor, masks: str = "dropout") -> Outputs:
        """Pass embeddings [tokens, width] on; passes with `masks` of one name drop the same units."""
        self._drop(masks)
        return self.model(embedded, self.inputs)

    def still_outputs(self, embedded: Tensor) -> Outputs:
        """Pass embeddings [tokens, width] on without dropout."""
        self.model.eval()
        outputs = self.model(embedded, self.inputs)
        self.model.train()
        return outputs

    def teacher_outputs(self) -> Outputs:
        """Pass the same rows through the teacher, which drops the same units as the model's clean pass."""
        assert self.teacher is not None
        with torch.no_grad():
            self._drop("dropout")
            return self.teacher(self.teacher.embed(self.inputs.tokens), self.inputs)

    def divergences(self, left: Outputs, right: Outputs) -> dict[str, Tensor]:
        """Return [] by task: how far apart two predictions are, on average over the rows."""
        return {name: DIVERGENCES[task.kind](left[name], right[name]).mean() for name, task in self.tasks.items()}

    def _drop(self, masks: str) -> None:
        # Seeded anew for every pass: SMART measures the perturbation and not the dropout, and training with and without
        # a regulariser drops the same units.
        seed_globally(self.seed, *self.place, masks)


Clean = list[Outputs]
"""Outputs of the clean pass, and of a second one with other dropout masks where a regulariser asks for it."""


@dataclass(frozen=True)
class Regulariser:
    """A term that is added to the losses."""

    term: Callable[[Forward, Clean], dict[str, Tensor]]
    """(forward pass, its clean outputs) -> [] by task, unweighted."""
    passes: int = 1
    """Clean passes that it compares. A task's own loss is the mean over them."""


def smart_term(forward: Forward, clean: Clean) -> dict[str, Tensor]:
    """Measure how far predictions move when the embeddings move within a ball in their worst direction.

    Dropout of the two branches is tied: with other masks they differ by four orders of magnitude more than the papers'
    radius moves them. Reports 000 and 001 leave it out of both ("off"), which costs another clean pass.

    Source: Jiang et al. 2020 (SMART), equation 2.
    """
    smart = forward.smart
    predict, outputs = BRANCHES[smart.dropout](forward, clean)
    draw = generator(forward.seed, *forward.place, "noise")
    noise = torch.randn(forward.embedded.shape, generator=draw).to(forward.embedded.device)
    return smoothness(
        predict,
        forward.embedded,
        outputs,
        smart.noise_scale * noise,
        forward.inputs.offsets,
        {name: DIVERGENCES[task.kind] for name, task in forward.tasks.items()},
        norm=smart.norm,
        radius=smart.radius,
        step_size=smart.step_size,
        ascent_steps=smart.ascent_steps,
        parameters=list(forward.model.parameters()),
    )


BRANCHES: dict[str, Callable[[Forward, Clean], tuple[Callable[[Tensor], Outputs], Outputs]]] = {
    "tied": lambda forward, clean: (forward.outputs, clean[0]),
    "off": lambda forward, clean: (forward.still_outputs, forward.still_outputs(forward.embedded)),
    "untied": lambda forward, clean: (partial(forward.outputs, masks="perturbed dropout"), clean[0]),
}
"""SMART's dropout -> how it predicts from perturbed embeddings, and what it compares the result with."""


def bregman_term(forward: Forward, clean: Clean) -> dict[str, Tensor]:
    """Measure how far predictions are from those of the teacher, which is 0 while model and teacher are equal.

    Source: Jiang et al. 2020 (SMART), section 3.2, momentum form.
    """
    return forward.divergences(clean[0], forward.teacher_outputs())


def r_drop_term(forward: Forward, clean: Clean) -> dict[str, Tensor]:
    """Measure how far two passes with other dropout masks are apart; a quarter, so that alpha means what it does there.

    Source: Liang et al. 2021 (R-Drop), equation 4, halved: the loss is the mean of both passes, not the sum.
    """
    return {task: divergence / 4 for task, divergence in forward.divergences(*clean).items()}


REGULARISERS: dict[str, Regulariser] = {
    "smart": Regulariser(smart_term),
    "bregman": Regulariser(bregman_term),
    "r_drop": Regulariser(r_drop_term, passes=2),
}
