"""Training objectives: compute the losses of a batch for supervised training, masked language modelling and SimCSE."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from model.multitask import Inputs
from trainers.methods.forward import Forward
from trainers.methods.regularisers import REGULARISERS
from trainers.methods.simcse import contrast
from trainers.tasks import Task


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
    return functional.mse_loss(outputs.squeeze(-1), labels.to(outputs.dtype))


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "classification": classification_loss,
    "binary": binary_loss,
    "regression": regression_loss,
}


def supervised(forward: Forward) -> dict[str, Loss]:
    """Return each task's loss on its labels, with its regularisers.

    Source: Jiang et al. 2020 (SMART), equation 2: loss + lambda_s * smoothness per task; other regularisers are added
        in the same way.
    """
    batch = forward.batch
    regularisers = {name: REGULARISERS[name] for name in forward.weights}
    clean_passes = max((regulariser.clean_passes for regulariser in regularisers.values()), default=1)
    clean = [forward.outputs(forward.embedded, masks) for masks in ("dropout", "second dropout")[:clean_passes]]
    terms = {name: regulariser.term(forward, clean) for name, regulariser in regularisers.items()}
    losses: dict[str, Loss] = {}
    for task, labels in batch.labels.items():
        own = torch.stack([_own_loss(batch.tasks[task], outputs[task], labels, forward) for outputs in clean]).mean()
        losses[task] = Loss(
            {"loss": own, **{name: values[task] for name, values in terms.items()}},
            {name: weights[task] for name, weights in forward.weights.items()},
        )
    return losses


def labelled_rows(forward: Forward) -> dict[str, int]:
    """Return the number of each task's rows."""
    return {task: len(labels) for task, labels in forward.batch.labels.items()}


def _own_loss(task: Task, outputs: Tensor, labels: Tensor, forward: Forward) -> Tensor:
    weights = forward.class_weights.get(task.name)
    return LOSSES[task.kind](outputs, labels, None if weights is None else outputs.new_tensor(weights))


def mlm(forward: Forward) -> dict[str, Loss]:
    """Return each source's loss of masked language modelling: the mean cross-entropy of its chosen tokens.

    Only chosen tokens pass through the head, because the vocabulary makes the head expensive. The loss of a source
    without chosen tokens is 0. Tokens are chosen for all micro-batches together, which then predict the same tokens as
    one large batch.

    Source: Devlin et al. 2019 (BERT), section 3.1, task 1; report 003 hides one token of each sequence.
    """
    model, inputs, (masked, chosen) = forward.model, forward.batch.inputs, forward.masked
    assert model.mlm_head
    word = model.encoder.word
    forward.seed_dropout("dropout")
    states = model.encoder.encode(model.embed(masked), inputs.offsets, inputs.segments)[chosen]  # [chosen, width]
    losses = functional.cross_entropy(model.mlm_head(states, word.weight), inputs.tokens[chosen], reduction="none")
    source = _sources(inputs, chosen)
    return {
        name: Loss({"loss": losses[source == place].sum() / (source == place).sum().clamp_min(1)})
        for place, name in enumerate(inputs.sequences)
    }


def chosen_tokens(forward: Forward) -> dict[str, int]:
    """Return the number of each source's chosen tokens."""
    inputs, (_, chosen) = forward.batch.inputs, forward.masked
    counts = torch.bincount(_sources(inputs, chosen), minlength=len(inputs.sequences)).tolist()
    return dict(zip(inputs.sequences, counts, strict=True))


def simcse(forward: Forward) -> dict[str, Loss]:
    """Return each source's contrastive loss, over the sentences of the batch.

    In the unsupervised form, a sentence's positive is the sentence itself under other dropout masks. The two sentences
    of a pair are contrasted separately, because they often have the same meaning and would be wrong negatives. In the
    supervised form, the positive is the second column of the row, and the third column is a hard negative.

    Source: Gao et al. 2021 (SimCSE). In place of its perceptron on [CLS] we use the config's pooling, by default the
        encoder's pooler.
    """
    masks = ["dropout"] if forward.simcse.supervised else ["dropout", "second dropout"]
    features = [_pooled(forward, name) for name in masks]
    losses: dict[str, Loss] = {}
    for source, sides in forward.batch.sides.items():
        parts = [pooled[source].chunk(sides) for pooled in features]  # [forward passes][sides]: [rows, width]
        pairs = [(parts[0][0], torch.cat(parts[0][1:]))] if forward.simcse.supervised else zip(*parts, strict=True)
        found = [contrast(anchors, others, forward.simcse.temperature) for anchors, others in pairs]
        losses[source] = Loss({"loss": torch.stack(found).mean()})
    return losses


def text_rows(forward: Forward) -> dict[str, int]:
    """Return the number of each source's rows, whose sentences are encoded separately."""
    return {source: count // forward.batch.sides[source] for source, count in forward.batch.inputs.sequences.items()}


@dataclass(frozen=True)
class Objective:
    """What a stage trains."""

    losses: Callable[[Forward], dict[str, Loss]]
    """Forward pass -> loss of each source."""
    units: Callable[[Forward], dict[str, int]]
    """Forward pass -> number of units that each source's loss is a mean over: rows, or chosen tokens.

    The parts of a step are weighed by their units, so that a step's loss does not depend on how the step is split.
    """


OBJECTIVES: dict[str, Objective] = {
    "supervised": Objective(supervised, labelled_rows),
    "mlm": Objective(mlm, chosen_tokens),
    "simcse": Objective(simcse, text_rows),
}


def _sources(inputs: Inputs, places: Tensor) -> Tensor:
    """Return the number of the source of some tokens [tokens], by their places in the flat list."""
    ends = inputs.offsets[torch.tensor(list(inputs.sequences.values())).cumsum(0)]  # [sources], in tokens
    return torch.bucketize(places, ends.to(places.device), right=True)


def _pooled(forward: Forward, masks: str) -> dict[str, Tensor]:
    """Return each source's features [sequences, width]; `masks` names the dropout masks."""
    inputs = forward.batch.inputs
    forward.seed_dropout(masks)
    features = forward.model.pool(forward.model.embed(inputs.tokens), inputs)  # [sequences, width]
    return dict(zip(inputs.sequences, features.split(list(inputs.sequences.values())), strict=True))
