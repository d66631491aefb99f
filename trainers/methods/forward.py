"""A forward pass in training: its batch, its model, its settings, and the outputs that losses compare."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from model.multitask import Inputs, Multitask
from model.tokenizer import SpecialTokens
from trainers.methods.divergences import DIVERGENCES
from trainers.methods.mlm import MlmConfig
from trainers.methods.simcse import SimcseConfig
from trainers.methods.smart import SmartConfig
from trainers.seeds import seed_globally
from trainers.tasks import Task

Outputs = dict[str, Tensor]
"""Task -> [rows, outputs]."""


@dataclass(frozen=True)
class Batch:
    """Rows that share a forward pass."""

    inputs: Inputs
    tasks: dict[str, Task]
    """Name -> task of the rows; empty for text sets."""
    labels: dict[str, Tensor]
    """Task -> [rows]."""
    sides: dict[str, int]
    """Source (task or text set) -> sentences per row."""


@dataclass(frozen=True)
class Forward:
    """A batch, the model in training mode that it passes through, and the settings of objectives and regularisers."""

    model: Multitask
    batch: Batch
    seed: int
    place: tuple[int | str, ...]
    """Step, sources and number of the forward pass; with `seed` it determines all random draws."""
    smart: SmartConfig = field(default_factory=SmartConfig)
    weights: dict[str, dict[str, float]] = field(default_factory=dict)
    """Regulariser -> task -> weight; regularisers that do not apply are absent."""
    class_weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Task -> weight of each class in the loss."""
    teacher: Multitask | None = None
    """The slowly moving copy of the model in training mode, for the proximal term."""
    mlm: MlmConfig = field(default_factory=MlmConfig)
    simcse: SimcseConfig = field(default_factory=SimcseConfig)
    special_tokens: SpecialTokens | None = None
    """The tokenizer's special tokens, for masked language modelling: they are never masked."""

    @cached_property
    def embedded(self) -> Tensor:
        """The word embeddings of the batch, [tokens, width]."""
        return self.model.embed(self.batch.inputs.tokens)

    def outputs(self, embedded: Tensor, masks: str = "dropout") -> Outputs:
        """Return the outputs for embeddings [tokens, width]; equal names of `masks` mean equal dropout masks."""
        self.seed_dropout(masks)
        return self.model(embedded, self.batch.inputs)

    def outputs_without_dropout(self, embedded: Tensor) -> Outputs:
        """Return the outputs for embeddings [tokens, width] without dropout."""
        self.model.eval()
        outputs = self.model(embedded, self.batch.inputs)
        self.model.train()
        return outputs

    def teacher_outputs(self) -> Outputs:
        """Return the teacher's outputs for the rows, with the dropout masks of the model's clean pass."""
        assert self.teacher is not None
        with torch.no_grad():
            self.seed_dropout("dropout")
            return self.teacher(self.teacher.embed(self.batch.inputs.tokens), self.batch.inputs)

    def divergences(self, left: Outputs, right: Outputs) -> dict[str, Tensor]:
        """Return each task's mean divergence [] between two outputs, over its rows."""
        return {name: DIVERGENCES[task.kind](left[name], right[name]).mean() for name, task in self.batch.tasks.items()}

    def seed_dropout(self, masks: str) -> None:
        """Seed the dropout masks of the next pass through the model; equal names of `masks` mean equal masks.

        Every pass seeds dropout again. So SMART measures the perturbation and not the dropout, and training with and
        without a regulariser has the same dropout masks.
        """
        seed_globally(self.seed, *self.place, masks)
