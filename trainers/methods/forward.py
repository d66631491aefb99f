"""A forward pass in training: its batch, its model, its settings, and the outputs that losses compare."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from model.multitask import Inputs, Multitask
from model.tokenizer import SpecialTokens
from trainers.methods.divergences import DIVERGENCES
from trainers.methods.mlm import MlmConfig, choose_tokens, mask_tokens
from trainers.methods.simcse import SimcseConfig
from trainers.methods.smart import SmartConfig
from trainers.seeds import generator, seed_globally
from trainers.tasks import Task

Outputs = dict[str, Tensor]
"""Task -> [rows, outputs]."""


@dataclass(frozen=True)
class Part:
    """The place of a micro-batch in the rows that it is a part of."""

    number: int
    """Number of earlier micro-batches of these rows."""
    whole: Inputs
    """The inputs of all these rows."""
    places: Tensor
    """Places of the micro-batch's tokens among the tokens of all these rows, [tokens], on the CPU."""


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
    part: Part | None = None
    """Set if the batch is a micro-batch: the tokens of all micro-batches have common random draws."""

    @property
    def drawn(self) -> Inputs:
        """The inputs whose tokens have random draws: those of all micro-batches together."""
        return self.part.whole if self.part else self.inputs

    def own(self, draws: Tensor) -> Tensor:
        """Select the draws of the batch's own tokens from those of all tokens in `drawn` [all tokens, ...]."""
        return draws[self.part.places] if self.part else draws


@dataclass(frozen=True)
class Forward:
    """A batch, the model in training mode that it passes through, and the settings of objectives and regularisers."""

    model: Multitask
    batch: Batch
    seed: int
    place: tuple[int | str, ...]
    """Step, sources and number of the forward group; with `seed` and the micro-batch it determines all random draws."""
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

    @cached_property
    def masked(self) -> tuple[Tensor, Tensor]:
        """The tokens of the batch with masks [tokens], and the places of the tokens to predict [chosen], ascending."""
        special, inputs, device = self.special_tokens, self.batch.drawn, self.batch.drawn.tokens.device
        assert special and special.mask is not None
        draw = generator(self.seed, *self.place, "mask")
        text = ~torch.isin(inputs.tokens, torch.tensor(special.ids, device=device))
        chosen = choose_tokens(text.cpu(), inputs.offsets, self.mlm.share, draw)
        vocabulary = self.model.encoder.word.num_embeddings
        shown = mask_tokens(inputs.tokens, chosen.to(device), special.mask, vocabulary, self.mlm.always_mask, draw)
        own = self.batch.own(torch.zeros(len(text), dtype=torch.bool).index_fill(0, chosen, True))  # [tokens]
        return self.batch.own(shown), own.nonzero().squeeze(-1).to(device)

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
        without a regulariser has the same dropout masks. Micro-batches of the same rows have different masks.
        """
        number = self.batch.part.number if self.batch.part else 0
        seed_globally(self.seed, *self.place, masks, *([number] if number else []))
