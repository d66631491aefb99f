"""Our side of `benchmarks.train`: loops of training, of evaluation and of bare matrix products."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.pace import Loop
from benchmarks.whole_data import NAMES
from model.bert import BertConfig
from model.encoder import Pretrained
from model.pretrained import read_pretrained
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.evaluation.evaluate import evaluate
from trainers.training.training import Training

ENCODER, SEED = "minilm", 0
BLOCK = 1024
"""Number of tokens in a matrix product, at which the machine is fastest."""
EVALUATED = 128
"""Number of dev rows per task."""


@dataclass(frozen=True)
class Work:
    """The data of all loops."""

    data: Path
    rows: int
    """Number of training rows per task."""

    def ours(self) -> tuple[Corpus, Pretrained]:
        """Return the corpus and the encoder of our side."""
        pretrained = read_pretrained(ENCODER)
        directory, _ = prepare(str(self.data), pretrained.tokenizer, rows=self.rows, seed=SEED)
        return Corpus.open(directory), pretrained


def config_of(
    batch_size: int = 16, *, surgery: str = "sum", tasks: tuple[str, ...] = NAMES, **changes: Any
) -> TrainConfig:
    """Return a config with a batch of every task in each step."""
    stage = Stage(tasks=tasks, batch_schedule="simultaneous", batch_size=batch_size, steps=100_000, surgery=surgery)
    return TrainConfig(encoder=ENCODER, stages=(stage,), seed=SEED, **changes)


def training_loop(work: tuple[Corpus, Pretrained], config: TrainConfig, device: str = "cpu") -> Loop:
    """Return a loop of training steps, without the evaluation of rounds."""
    training = Training(config, *work, dev_limit=1, device=device)
    training.model.train()

    def step() -> int:
        before = training.tokens
        training._update(training.plan[training.step])
        return training.tokens - before

    return step


def products_loop(
    config: BertConfig,
    *,
    backward: bool,
    cut: bool = False,
    tokens: int = BLOCK,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Loop:
    """Return a loop of the matrix products of all linear layers.

    Args:
        config: the sizes of the encoder.
        backward: whether to compute the products of the backward pass, too.
        cut: whether to leave out the products that the last layer skips if only first tokens are needed: all but those
            of keys and values.
        tokens: number of tokens per product.
    """
    width, wide = config.width, config.feed_forward
    shapes = [(width, width)] * 4 + [(width, wide), (wide, width)]
    draw = partial(torch.randn, device=device, dtype=dtype)
    weights = [draw(shape) for shape in shapes]
    entering = [draw(tokens, rows) for rows, _ in shapes]
    gradients = [draw(tokens, columns) for _, columns in shapes]

    def step() -> int:
        for place in range(len(shapes) * config.layers - (len(shapes) - 2 if cut else 0)):
            weight, values, gradient = (each[place % len(shapes)] for each in (weights, entering, gradients))
            torch.mm(values, weight)
            if backward:
                torch.mm(gradient, weight.T)
                torch.mm(values.T, gradient)
        return tokens

    return step


def evaluation_loop(work: tuple[Corpus, Pretrained], **changes: Any) -> Loop:
    """Return a loop that evaluates the same dev rows of all tasks in each step."""
    corpus, pretrained = work
    model = Training(config_of(**changes), corpus, pretrained, dev_limit=1).model
    rows = {task: np.arange(min(EVALUATED, len(corpus.splits[task]["dev"]))) for task in NAMES}
    tokens = sum(_tokens(corpus, task, numbers) for task, numbers in rows.items())

    def step() -> int:
        evaluate(model, corpus, "dev", rows)
        return tokens

    return step


def _tokens(corpus: Corpus, task: str, rows: np.ndarray) -> int:
    """Return the number of tokens in dev rows, special tokens included."""
    sides = corpus.sides(task, "dev")
    texts = sum(int((side.offsets[rows + 1] - side.offsets[rows]).sum()) for side in sides)
    return texts + (1 + len(sides)) * len(rows)
