"""Rows, with the model -> what each of their tasks or text sets contributes to a step."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from model.multitask import Inputs, Multitask
from model.tokenizer import SpecialTokens
from trainers.methods.mlm import MlmConfig, choose, hide
from trainers.methods.regularisers import REGULARISERS, Forward
from trainers.methods.simcse import SimcseConfig, contrast
from trainers.methods.smart import SmartConfig
from trainers.seeds import generator, seed_globally
from trainers.tasks import Task


@dataclass(frozen=True)
class Batch:
    """Rows that share a forward pass."""

    inputs: Inputs
    tasks: dict[str, Task]
    """Those of the rows; text sets are none."""
    labels: dict[str, Tensor]
    """Task -> [rows]."""
    sides: dict[str, int]
    """Sequences of each source's rows."""


@dataclass(frozen=True)
class Setup:
    """What a forward pass trains for, beside the rows."""

    seed: int
    place: tuple[int | str, ...]
    """Names the pass, by step and rows; with the seed, all its draws follow from it."""
    smart: SmartConfig = field(default_factory=SmartConfig)
    weights: dict[str, dict[str, float]] = field(default_factory=dict)
    """Regulariser -> task -> weight; those that are left out do not apply."""
    class_weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    teacher: Multitask | None = None
    mlm: MlmConfig = field(default_factory=MlmConfig)
    simcse: SimcseConfig = field(default_factory=SimcseConfig)
    special_tokens: SpecialTokens | None = None
    """For masked language modelling: tokens that are not hidden, and the one that hides."""


@dataclass(frozen=True)
class Loss:
    """What one task or text set contributes to a step."""

    terms: dict[str, Tensor]
    """Name -> [], unweighted, with its graph: the task's own "loss", then its regularisers."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of the regularisers."""

    @property
    def total(self) -> Tensor:
        """Return [], the own loss plus the weighted regularisers."""
        return torch.stack([self.weights.get(name, 1.0) * term for name, term in self.terms.items()]).sum()


def classification_loss(outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of logits [rows, classes] against class numbers [rows].

    Args:
        weights: [classes]; each row's loss is multiplied by its label's. The mean is over rows, not over weights: else
            the parts of a step would not add up to it.
    """
    return functional.cross_entropy(outputs, labels.long(), weights, reduction="sum") / len(labels)


def binary_loss(outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy of one logit a row [rows, 1] against labels 0 and 1 [rows].

    Args:
        weights: [2], of no and yes, as for classes.
    """
    own = None if weights is None else weights[labels.long()]  # [rows]
    return functional.binary_cross_entropy_with_logits(outputs.squeeze(-1), labels, own)


def regression_loss(outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean squared error of values [rows, 1] against labels [rows], in label units; it has no classes."""
    return functional.mse_loss(outputs.squeeze(-1), labels)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "classification": classification_loss,
    "binary": binary_loss,
    "regression": regression_loss,
}


def supervised(model: Multitask, batch: Batch, setup: Setup) -> dict[str, Loss]:
    """Return every task's loss against its labels, and its regularisers.

    Args:
        model: in training mode.

    Source: Jiang et al. 2020 (SMART), equation 2: per task, loss + lambda_s * smoothness; others are added alike.
    """
    embedded = model.embed(batch.inputs.tokens)
    forward = Forward(model, batch.inputs, batch.tasks, embedded, setup.seed, setup.place, setup.smart, setup.teacher)
    regularisers = {name: REGULARISERS[name] for name in setup.weights}
    passes = max((regulariser.passes for regulariser in regularisers.values()), default=1)
    clean = [forward.outputs(embedded, masks) for masks in ("dropout", "second dropout")[:passes]]
    terms = {name: regulariser.term(forward, clean) for name, regulariser in regularisers.items()}
    losses: dict[str, Loss] = {}
    for task, labels in batch.labels.items():
        own = torch.stack([_own_loss(batch.tasks[task], outputs[task], labels, setup) for outputs in clean]).mean()
        losses[task] = Loss(
            {"loss": own, **{name: values[task] for name, values in terms.items()}},
            {name: weights[task] for name, weights in setup.weights.items()},
        )
    return losses


def _own_loss(task: Task, outputs: Tensor, labels: Tensor, setup: Setup) -> Tensor:
    weights = setup.class_weights.get(task.name)
    return LOSSES[task.kind](outputs, labels, None if weights is None else outputs.new_tensor(weights))


def mlm(model: Multitask, batch: Batch, setup: Setup) -> dict[str, Loss]:
    """Return how badly hidden tokens are guessed from the others, for each source of texts.

    Only hidden places go through the head: the vocabulary is most of its cost. A source that happens to have none
    contributes 0.

    Source: Devlin et al. 2019 (BERT), section 3.1, task 1; report 003 hides one token of each sequence.
    """
    assert model.mlm_head and setup.special_tokens and setup.special_tokens.mask is not None
    inputs, word = batch.inputs, model.encoder.word
    draw = generator(setup.seed, *setup.place, "mask")
    text = ~torch.isin(inputs.tokens, torch.tensor(setup.special_tokens.ids, device=inputs.tokens.device))
    chosen = choose(text.cpu(), inputs.offsets, setup.mlm.share, draw).to(text.device)
    shown = hide(inputs.tokens, chosen, setup.special_tokens.mask, word.num_embeddings, setup.mlm.always_mask, draw)
    seed_globally(setup.seed, *setup.place, "dropout")
    states = model.encoder.encode(model.embed(shown), inputs.offsets, inputs.segments)[chosen]  # [chosen, width]
    missed = functional.cross_entropy(model.mlm_head(states, word.weight), inputs.tokens[chosen], reduction="none")
    ends = inputs.offsets[torch.tensor(list(inputs.sequences.values())).cumsum(0)]  # [sources], in tokens
    source = torch.bucketize(chosen, ends.to(chosen.device), right=True)  # [chosen]
    return {
        name: Loss({"loss": missed[source == place].sum() / (source == place).sum().clamp_min(1)})
        for place, name in enumerate(inputs.sequences)
    }


def simcse(model: Multitask, batch: Batch, setup: Setup) -> dict[str, Loss]:
    """Return how badly each sentence finds its like among the others of its source.

    A sentence's like is itself under other dropout masks; or, supervised, the second side of its line, and the third is
    a hard negative. The two sides of a row are contrasted apart, because they are often each other's likes.

    Source: Gao et al. 2021 (SimCSE). Its perceptron on [CLS] is the encoder's pooler, or what the config pools by.
    """
    masks = ["dropout"] if setup.simcse.supervised else ["dropout", "second dropout"]
    passes = [_pooled(model, batch.inputs, setup, name) for name in masks]
    losses: dict[str, Loss] = {}
    for source in batch.inputs.sequences:
        parts = [pooled[source].chunk(batch.sides[source]) for pooled in passes]  # by pass, by side: [rows, width]
        pairs = [(parts[0][0], torch.cat(parts[0][1:]))] if setup.simcse.supervised else zip(*parts, strict=True)
        found = [contrast(anchors, likes, setup.simcse.temperature) for anchors, likes in pairs]
        losses[source] = Loss({"loss": torch.stack(found).mean()})
    return losses


OBJECTIVES: dict[str, Callable[[Multitask, Batch, Setup], dict[str, Loss]]] = {
    "supervised": supervised,
    "mlm": mlm,
    "simcse": simcse,
}


def _pooled(model: Multitask, inputs: Inputs, setup: Setup, masks: str) -> dict[str, Tensor]:
    """Return each source's features [sequences, width], under the dropout masks of a name."""
    seed_globally(setup.seed, *setup.place, masks)
    features = model.pool(model.embed(inputs.tokens), inputs)  # [sequences, width]
    return dict(zip(inputs.sequences, features.split(list(inputs.sequences.values())), strict=True))
