"""A batch -> one loss a task: what a stage minimises."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model.multitask import Inputs, Multitask
from trainers.divergences import DIVERGENCES
from trainers.seeds import generator, seed_of
from trainers.smart import SmartConfig, smoothness
from trainers.tasks import TASKS


@dataclass(frozen=True)
class Batch:
    """Rows of the tasks that share a forward pass."""

    inputs: Inputs
    labels: dict[str, Tensor]
    """Task -> [rows]."""


@dataclass(frozen=True)
class Loss:
    """What one task contributes to a step; the parts are for the record."""

    total: Tensor
    """[], with its graph."""
    parts: dict[str, Tensor]
    """Name -> [], detached: the task's own loss and its regularisers, unweighted."""


def classification_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits [rows, classes] against class numbers [rows]."""
    return functional.cross_entropy(outputs, labels.long())


def binary_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of one logit a row [rows, 1] against labels 0 and 1 [rows]."""
    return functional.binary_cross_entropy_with_logits(outputs.squeeze(-1), labels)


def regression_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error of values [rows, 1] against labels [rows], in label units."""
    return functional.mse_loss(outputs.squeeze(-1), labels)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "classification": classification_loss,
    "binary": binary_loss,
    "regression": regression_loss,
}


def supervised(
    model: Multitask, batch: Batch, smart: SmartConfig, seed: int, place: tuple[int | str, ...]
) -> dict[str, Loss]:
    """Return every task's loss, with SMART's smoothness term where lambda_s is not 0.

    Args:
        model: in training mode.
        place: names this forward pass, by step and tasks; with the seed, all its draws follow from it.

    Source: Jiang et al. 2020 (SMART), equation 2: per task, loss + lambda_s * smoothness.
    """

    def predict(embedded: Tensor) -> dict[str, Tensor]:
        # Seeded anew for every pass: the clean and the perturbed branch drop the same units, so that SMART measures
        # the perturbation and not the dropout; and training with and without SMART drops the same units too.
        torch.manual_seed(seed_of(seed, *place, "dropout"))
        return model(embedded, batch.inputs)

    embedded = model.embed(batch.inputs.tokens)
    outputs = predict(embedded)
    losses = {task: LOSSES[TASKS[task].kind](outputs[task], labels) for task, labels in batch.labels.items()}
    if not smart.lambda_s:
        return {task: Loss(loss, {"loss": loss.detach()}) for task, loss in losses.items()}
    draw = generator(seed, *place, "noise")
    noise = smart.noise_scale * torch.randn(embedded.shape, generator=draw).to(embedded.device)
    roughness = smoothness(
        predict,
        embedded,
        outputs,
        noise,
        batch.inputs.offsets,
        {task: DIVERGENCES[TASKS[task].kind] for task in outputs},
        norm=smart.norm,
        radius=smart.radius,
        step_size=smart.step_size,
        ascent_steps=smart.ascent_steps,
    )
    return {
        task: Loss(
            loss + smart.lambda_s * roughness[task], {"loss": loss.detach(), "smoothness": roughness[task].detach()}
        )
        for task, loss in losses.items()
    }


OBJECTIVES = {"supervised": supervised}
