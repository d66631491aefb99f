"""A model and rows -> its outputs, and what they score."""

from collections.abc import Iterator

import numpy
import torch

from model.multitask import Multitask
from trainers.batching import inputs
from trainers.data import Corpus, stratified
from trainers.scores import METRICS, predictions, score
from trainers.seeds import numpy_generator
from trainers.tasks import TASKS

ROWS = 64  # of a forward pass: larger ones leave the cache


@torch.inference_mode()
def evaluate(
    model: Multitask, corpus: Corpus, split: str, rows: dict[str, numpy.ndarray], pairs: str
) -> dict[str, numpy.ndarray]:
    """Return each task's outputs, logits or values, without dropout: task -> float32 [rows, outputs].

    Args:
        rows: task -> row numbers of the split, in the order of the result.
        pairs: how the model was given pairs in training.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    found: dict[str, list[numpy.ndarray]] = {task: [] for task in rows}
    for task, chunk in _chunks(rows):
        batch = inputs(corpus, split, {task: chunk}, pairs, model.encoder.config.positions).to(device)
        found[task].append(model(model.embed(batch.tokens), batch)[task].float().cpu().numpy())
    model.train(training)
    return {task: numpy.concatenate(parts) for task, parts in found.items()}


def measure(
    corpus: Corpus, split: str, rows: dict[str, numpy.ndarray], outputs: dict[str, numpy.ndarray]
) -> dict[str, float]:
    """Return each task's metric on labelled rows.

    Args:
        outputs: task -> [rows, outputs].
    """
    return {
        task: float(
            METRICS[TASKS[task].kind](
                predictions(TASKS[task].kind, values), corpus.splits[task][split].labels[rows[task]]
            )
        )
        for task, values in outputs.items()
    }


def overall(metrics: dict[str, float]) -> float:
    """Return the score: the mean over the tasks of accuracy or (r + 1) / 2."""
    return float(score({task: numpy.asarray(value) for task, value in metrics.items()}))


def dev_rows(corpus: Corpus, task: str, limit: int) -> numpy.ndarray:
    """Choose the dev rows that rounds are scored on: all labelled ones, or a stratified sample of `limit` of them.

    The choice is a function of the corpus alone, so that all trials of a search are scored on the same rows.
    """
    labels = corpus.splits[task]["dev"].labels
    labelled = numpy.flatnonzero(numpy.isfinite(labels))
    if len(labelled) <= limit:
        return labelled
    return labelled[stratified(labels[labelled], limit, numpy_generator(0, "dev rows", task))]


def _chunks(rows: dict[str, numpy.ndarray]) -> Iterator[tuple[str, numpy.ndarray]]:
    for task, numbers in rows.items():
        for start in range(0, len(numbers), ROWS):
            yield task, numbers[start : start + ROWS]
