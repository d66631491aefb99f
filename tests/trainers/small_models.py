"""Build tiny models and batches for the tests of forward passes, and compute gradients."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.multitask import Multitask
from model.pretrained import Pretrained
from tests.conftest import small_config, small_stage
from trainers.config.train_config import Stage
from trainers.data.batches import inputs, labels
from trainers.data.corpus import Corpus
from trainers.methods.forward import Batch
from trainers.tasks import TASKS
from trainers.training.build_model import build

NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "head_dropout": 0.0}
HIGH_DROPOUT = {"dropout": 0.5, "attention_dropout": 0.5, "head_dropout": 0.5}


@dataclass
class SmallModels:
    """Build models in training mode, and batches of training rows, on one corpus with one pretrained encoder."""

    corpus: Corpus
    pretrained: Pretrained

    def model(self, *before: Stage, **changes: Any) -> Multitask:
        """Return a model of all tasks; stages of further pretraining may come first in its config."""
        config = small_config(*before, small_stage(tasks=tuple(TASKS)), **changes)
        return build(config, TASKS, self.pretrained).train()

    def batch(self, model: Multitask, *tasks: str, count: int = 5) -> Batch:
        """Return a batch of the first rows of tasks, in the encodings of the model."""
        rows = {task: torch.arange(count).numpy() for task in tasks}
        return Batch(
            inputs(self.corpus, "train", rows, model.encodings, 512),
            {task: TASKS[task] for task in tasks},
            labels(self.corpus, "train", rows),
            {task: len(TASKS[task].text_columns) for task in tasks},
        )

    def text_batch(self, *sources: str, count: int = 5) -> Batch:
        """Return a batch of the first rows of tasks and text sets, with a sequence for each side of a row."""
        rows = {source: torch.arange(count).numpy() for source in sources}
        sides = {source: len(self.corpus.sides(source)) for source in sources}
        return Batch(inputs(self.corpus, "train", rows, dict.fromkeys(sources, "separate"), 512), {}, {}, sides)


def enlarged_copy(model: Multitask) -> Multitask:
    """Return a copy of the model whose parameters are 1.1 times as large, for use as a teacher."""
    teacher = copy.deepcopy(model).requires_grad_(False)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter *= 1.1
    return teacher


def gradients(model: Multitask, loss: Tensor) -> dict[str, Tensor]:
    """Return the gradient of every parameter that the loss depends on, by the name of the parameter."""
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, retain_graph=True)
    names = [name for name, _ in model.named_parameters()]
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}
