"""A model and rows -> its outputs, and what they score."""

from collections.abc import Iterator

import numpy as np
import torch

from model.multitask import Multitask
from trainers.data.batches import inputs
from trainers.data.corpus import Corpus
from trainers.data.stratified import stratified_sample
from trainers.evaluation.scores import METRICS, predictions
from trainers.seeds import numpy_generator

ROWS = 64
"""Of a forward pass: larger ones leave the cache."""


@torch.inference_mode()
def evaluate(model: Multitask, corpus: Corpus, split: str, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return each task's outputs, logits or values, without dropout: task -> float32 [rows, outputs].

    Args:
        rows: task -> row numbers of the split, in the order of the result.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    found: dict[str, list[np.ndarray]] = {task: [] for task in rows}
    for task, chunk in _chunks(rows):
        batch = inputs(corpus, split, {task: chunk}, model.encodings, model.encoder.positions).to(device)
        found[task].append(model(model.embed(batch.tokens), batch)[task].float().cpu().numpy())
    model.train(training)
    return {task: np.concatenate(parts) for task, parts in found.items()}


def measure(
    corpus: Corpus, split: str, rows: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> dict[str, float]:
    """Return each task's metric on labelled rows.

    Args:
        outputs: task -> [rows, outputs].
    """
    found: dict[str, float] = {}
    for task, values in outputs.items():
        kind, labels = corpus.tasks[task].kind, corpus.splits[task][split].labels[rows[task]]
        found[task] = float(METRICS[kind](predictions(kind, values), labels))
    return found


def dev_rows(corpus: Corpus, task: str, limit: int) -> np.ndarray:
    """Choose the dev rows that rounds are scored on: all labelled ones, or a stratified sample of `limit` of them.

    The choice is a function of the corpus alone, so that all trials of a search are scored on the same rows.
    """
    labels = corpus.splits[task]["dev"].labels
    labelled = np.flatnonzero(np.isfinite(labels))
    if len(labelled) <= limit:
        return labelled
    return labelled[stratified_sample(labels[labelled], limit, numpy_generator(0, "dev rows", task))]


def _chunks(rows: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for task, numbers in rows.items():
        for start in range(0, len(numbers), ROWS):
            yield task, numbers[start : start + ROWS]
