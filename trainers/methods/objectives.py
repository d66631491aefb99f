"""Training objectives: compute the losses of a batch for supervised training, masked language modelling and SimCSE."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from model.multitask import Inputs, Multitask
from model.tokenizer import SpecialTokens
from trainers.methods.mlm import MlmConfig, choose_tokens, mask_tokens
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
    """Name -> task of the rows; empty for text sets."""
    labels: dict[str, Tensor]
    """Task -> [rows]."""
    sides: dict[str, int]
    """Source (task or text set) -> sentences per row."""


@dataclass(frozen=True)
class Setup:
    """Settings of a forward pass: seed, regularisers and objectives."""

    seed: int
    place: tuple[int | str, ...]
    """Step, sources and number of the pass; with `seed` it determines all random draws."""
    smart: SmartConfig = field(default_factory=SmartConfig)
    weights: dict[str, dict[str, float]] = field(default_factory=dict)
    """Regulariser -> task -> weight; regularisers that do not apply are absent."""
    class_weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Task -> weight of each class in the loss."""
    teacher: Multitask | None = None
    """The slowly moving copy of the model, for the proximal term."""
    mlm: MlmConfig = field(default_factory=MlmConfig)
    simcse: SimcseConfig = field(default_factory=SimcseConfig)
    special_tokens: SpecialTokens | None = None
    """The tokenizer's special tokens, for masked language modelling: they are never masked."""


@dataclass(frozen=True)
class Loss:
    """The loss of one task or text set in a step."""

    terms: dict[str, Tensor]
    """Name -> [], unweighted, with its graph: the task's own "loss" first, then its regularisers."""
    weights: dict[str, float] = field(default_factory=dict)
    """Regulariser -> weight."""

    @property
    def total(self) -> Tensor:
        """Return the own loss plus the weighted regularisers, []."""
        return torch.stack([self.weights.get(name, 1.0) * term for name, term in self.terms.items()]).sum()


def classification_loss(outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of logits [rows, classes] against class numbers [rows].

    Args:
        weights: [classes]; each row's loss is multiplied by the weight of its label. The mean divides by the number of
            rows, not by the sum of the weights, so that the parts of a step add up to the step's loss.
    """
    return functional.cross_entropy(outputs, labels.long(), weights, reduction="sum") / len(labels)


def binary_loss(outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy of logits [rows, 1] against labels 0 and 1 [rows].

    Args:
        weights: [2], of the labels 0 and 1, applied as in `classification_loss`.
    """
    by_row = None if weights is None else weights[labels.long()]  # [rows]
    return functional.binary_cross_entropy_with_logits(outputs.squeeze(-1), labels, by_row)


def regression_loss(outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean squared error of values [rows, 1] against labels [rows], in squared label units."""
    return functional.mse_loss(outputs.squeeze(-1), labels)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "classification": classification_loss,
    "binary": binary_loss,
    "regression": regression_loss,
}


def supervised(model: Multitask, batch: Batch, setup: Setup) -> dict[str, Loss]:
    """Return each task's loss on its labels, with its regularisers.

    Args:
        model: in training mode.

    Source: Jiang et al. 2020 (SMART), equation 2: loss + lambda_s * smoothness per task; other regularisers are added
        in the same way.
    """
    embedded = model.embed(batch.inputs.tokens)
    forward = Forward(model, batch.inputs, batch.tasks, embedded, setup.seed, setup.place, setup.smart, setup.teacher)
    regularisers = {name: REGULARISERS[name] for name in setup.weights}
    clean_passes = max((regulariser.clean_passes for regulariser in regularisers.values()), default=1)
    clean = [forward.outputs(embedded, masks) for masks in ("dropout", "second dropout")[:clean_passes]]
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
    """Return each source's loss of masked language modelling: the mean cross-entropy of its chosen tokens.

    Only chosen tokens pass through the head, because the vocabulary makes the head expensive. The loss of a source
    without chosen tokens is 0.

    Source: Devlin et al. 2019 (BERT), section 3.1, task 1; report 003 hides one token of each sequence.
    """
    special = setup.special_tokens
    assert model.mlm_head and special and special.mask is not None
    inputs, word = batch.inputs, model.encoder.word
    draw = generator(setup.seed, *setup.place, "mask")
    text = ~torch.isin(inputs.tokens, torch.tensor(special.ids, device=inputs.tokens.device))
    chosen = choose_tokens(text.cpu(), inputs.offsets, setup.mlm.share, draw).to(text.device)
    masked = mask_tokens(inputs.tokens, chosen, special.mask, word.num_embeddings, setup.mlm.always_mask, draw)
    seed_globally(setup.seed, *setup.place, "dropout")
    states = model.encoder.encode(model.embed(masked), inputs.offsets, inputs.segments)[chosen]  # [chosen, width]
    losses = functional.cross_entropy(model.mlm_head(states, word.weight), inputs.tokens[chosen], reduction="none")
    ends = inputs.offsets[torch.tensor(list(inputs.sequences.values())).cumsum(0)]  # [sources], in tokens
    source = torch.bucketize(chosen, ends.to(chosen.device), right=True)  # [chosen]
    return {
        name: Loss({"loss": losses[source == place].sum() / (source == place).sum().clamp_min(1)})
        for place, name in enumerate(inputs.sequences)
    }


def simcse(model: Multitask, batch: Batch, setup: Setup) -> dict[str, Loss]:
    """Return each source's contrastive loss, over the sentences of the batch.

    Unsupervised, a sentence's positive is the sentence itself under other dropout masks. The two sentences of a pair
    are contrasted separately, because they often have the same meaning and would be wrong negatives. Supervised, the
    positive is the second column of the row, and the third column is a hard negative.

    Source: Gao et al. 2021 (SimCSE). In place of its perceptron on [CLS] we use the config's pooling, by default the
        encoder's pooler.
    """
    masks = ["dropout"] if setup.simcse.supervised else ["dropout", "second dropout"]
    features = [_pooled(model, batch.inputs, setup, name) for name in masks]
    losses: dict[str, Loss] = {}
    for source in batch.inputs.sequences:
        parts = [pooled[source].chunk(batch.sides[source]) for pooled in features]  # [passes][sides]: [rows, width]
        pairs = [(parts[0][0], torch.cat(parts[0][1:]))] if setup.simcse.supervised else zip(*parts, strict=True)
        found = [contrast(anchors, others, setup.simcse.temperature) for anchors, others in pairs]
        losses[source] = Loss({"loss": torch.stack(found).mean()})
    return losses


OBJECTIVES: dict[str, Callable[[Multitask, Batch, Setup], dict[str, Loss]]] = {
    "supervised": supervised,
    "mlm": mlm,
    "simcse": simcse,
}


def _pooled(model: Multitask, inputs: Inputs, setup: Setup, masks: str) -> dict[str, Tensor]:
    """Return each source's features [sequences, width]; `masks` names the dropout masks."""
    seed_globally(setup.seed, *setup.place, masks)
    features = model.pool(model.embed(inputs.tokens), inputs)  # [sequences, width]
    return dict(zip(inputs.sequences, features.split(list(inputs.sequences.values())), strict=True))
