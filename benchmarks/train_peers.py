"""The peers of `benchmarks.train`: multitask training with transformers and torchjd, step by step."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torchjd.aggregation import PCGrad
from torchjd.autojac import jac_to_grad, mtl_backward
from transformers import AutoTokenizer, DataCollatorWithPadding

from benchmarks.pace import Loop
from benchmarks.train_loops import ENCODER, SEED, Work
from benchmarks.whole_data import NAMES
from benchmarks.whole_loop import Checkpoint, PeerModel, Rows, supervised_loss, tokenized
from benchmarks.whole_peer import checkpoint_of
from trainers.config.optimizer_config import OptimizerConfig
from trainers.data.batches import next_rows
from trainers.data.course_files import read_directory
from trainers.data.stratified import sample_training_rows
from trainers.seeds import numpy_generator

POOL = 50
"""Number of batches whose rows are sorted by length together."""
RATE = 5e-5
OPTIMIZER = OptimizerConfig()

Batch = dict[str, Tensor]
Chosen = Iterator[np.ndarray]
"""Row numbers [rows] of each batch."""


@dataclass(frozen=True)
class Peer:
    """The checkpoint and data that the loops of a peer share."""

    checkpoint: Checkpoint
    rows: dict[str, Rows]
    """Task -> training rows."""
    means: dict[str, float]
    """Task -> mean label."""

    def loop(self, batch_size: int, order: Callable[[Rows, str, int], Chosen], backward: "Backward") -> Loop:
        """Return a training loop with a new model: AdamW with clipped gradients, one batch per task in each step."""
        model = PeerModel(self.checkpoint, 0.1, self.means)
        model.train()
        optimizer = AdamW(model.parameters(), lr=RATE, fused=True)
        collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(self.checkpoint.directory))
        chosen = {task: order(rows, task, batch_size) for task, rows in self.rows.items()}

        def step() -> int:
            batches = {task: collate([self.rows[task][row] for row in next(rows)]) for task, rows in chosen.items()}
            optimizer.zero_grad()
            backward(model, batches)
            nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.clip_norm or math.inf)
            optimizer.step()
            return sum(int(batch["attention_mask"].sum()) for batch in batches.values())

        return step


def peer_of(work: Work) -> Peer:
    """Return the peer with the same rows and weights as our side."""
    checkpoint, splits = checkpoint_of(ENCODER), sample_training_rows(read_directory(work.data), work.rows, SEED).splits
    rows = {task: tokenized(checkpoint, splits[task]["train"]) for task in NAMES}
    return Peer(checkpoint, rows, {task: float(splits[task]["train"].labels.mean()) for task in NAMES})


Backward = Callable[[PeerModel, dict[str, Batch]], None]
"""(model, task -> batch): compute the gradients of the parameters."""


def as_ours(rows: Rows, task: str, size: int) -> Chosen:
    """Yield the rows of our loop with seed 0."""
    taken = 0
    while True:
        chosen = next_rows(len(rows), 0, task, taken, size)
        taken += len(chosen)
        yield chosen


def grouped(rows: Rows, task: str, size: int) -> Chosen:
    """Yield batches of rows with similar lengths: sort the rows of `POOL` random batches by length and split them."""
    draw = numpy_generator(0, "grouped", task)
    lengths = np.array([len(row["input_ids"]) for row in rows])
    while True:
        pools = np.array_split(draw.permutation(len(rows)), max(1, round(len(rows) / size / POOL)))
        for pool in pools:
            pool = pool[lengths[pool].argsort(kind="stable")]
            starts = draw.permutation(range(0, len(pool), size))
            yield from (pool[start : start + size] for start in starts)


def plain(model: PeerModel, batches: dict[str, Batch]) -> None:
    """Compute the gradient of the sum of the tasks' losses."""
    _, losses = _passed(model, batches)
    torch.stack(losses).sum().backward()


def textbook_pcgrad(model: PeerModel, batches: dict[str, Batch]) -> None:
    """Compute PCGrad's gradient from flattened copies of the tasks' gradients.

    Source: Yu et al. 2020 (PCGrad), algorithm 1.
    """
    shared = list(model.bert.parameters())
    found: list[Tensor] = []
    for task, batch in batches.items():
        _, (loss,) = _passed(model, {task: batch})
        loss.backward()
        found.append(nn.utils.parameters_to_vector(map(_taken, shared)))
    total = torch.zeros_like(found[0])
    for own in found:
        projected = own.clone()
        for other in torch.randperm(len(found)).tolist():
            product = projected @ found[other]
            if found[other] is not own and product < 0:
                projected -= product / (found[other] @ found[other]) * found[other]
        total += projected
    for parameter, part in zip(shared, total.split([parameter.numel() for parameter in shared]), strict=True):
        parameter.grad = part.view_as(parameter)


def torchjd_pcgrad(model: PeerModel, batches: dict[str, Batch]) -> None:
    """Compute PCGrad's gradient with torchjd, as in its guide for multitask learning."""
    features, losses = _passed(model, batches)
    shared = list(model.bert.parameters())
    mtl_backward(losses, features=features, shared_params=shared, parallel_chunk_size=1)
    jac_to_grad(shared, PCGrad())


def _passed(model: PeerModel, batches: dict[str, Batch]) -> tuple[list[Tensor], list[Tensor]]:
    """Return each task's features [rows, width] and loss []."""
    features, losses = [], []
    for task, batch in batches.items():
        features.append(model.encode(model.embed(batch), batch))
        losses.append(supervised_loss(task, model.predict(task, features[-1]), batch["labels"]))
    return features, losses


def _taken(parameter: nn.Parameter) -> Tensor:
    """Return a parameter's gradient and clear it."""
    gradient, parameter.grad = parameter.grad, None
    return torch.zeros_like(parameter) if gradient is None else gradient
