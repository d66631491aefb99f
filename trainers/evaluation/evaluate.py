"""Evaluate a model: compute its outputs for rows of a corpus, and the metrics of the outputs."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from model.multitask import Multitask
from trainers.data.batches import inputs
from trainers.data.corpus import Corpus
from trainers.data.stratified import stratified_sample
from trainers.evaluation.metrics import METRICS, predicted_classes
from trainers.evaluation.scores import predictions
from trainers.seeds import numpy_generator
from trainers.tasks import Task

ROWS = 64
"""Rows per forward pass: larger batches do not fit into the CPU's cache."""
EQUAL_VALUES = 1e-3
"""Values of a regression count as equal if they differ by less than this share of the range of its labels."""


@torch.inference_mode()
def evaluate(model: Multitask, corpus: Corpus, split: str, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the outputs of a model for rows of each task, without dropout; leave the model unchanged.

    Args:
        rows: task -> row numbers in the split, in the order of the result.

    Returns:
        Task -> logits or values, float32 [rows, outputs].
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
    """Compute each task's metric from its outputs.

    Args:
        rows: task -> numbers of labelled rows in the split.
        outputs: task -> outputs of these rows, [rows, outputs].
    """
    found: dict[str, float] = {}
    for task, values in outputs.items():
        kind, metric = corpus.tasks[task].kind, METRICS[corpus.tasks[task].metric]
        labels = corpus.splits[task][split].labels[rows[task]]
        found[task] = float(metric.compute(predictions(kind, values), labels))
    return found


def constant_predictions(tasks: Mapping[str, Task], outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the class or value that a model predicts for every row, for each task where it does so.

    Args:
        tasks: the tasks by name.
        outputs: task -> outputs [rows, outputs]; a task with fewer than two rows is left out.
    """
    found: dict[str, float] = {}
    for task, values in outputs.items():
        low, high, predicted = tasks[task].low, tasks[task].high, predictions(tasks[task].kind, values)
        regression = tasks[task].kind == "regression"
        answers = predicted[:, 0] if regression else low + predicted_classes(predicted)
        if len(answers) > 1 and np.ptp(answers) <= (EQUAL_VALUES * (high - low) if regression else 0):
            found[task] = float(answers.mean())
    return found


def dev_rows(corpus: Corpus, task: str, limit: int) -> np.ndarray:
    """Choose the dev rows on which rounds are scored: all labelled rows, or a stratified sample of `limit` rows.

    The choice depends on the corpus and `limit` only, so all trials of a search are scored on the same rows.
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
