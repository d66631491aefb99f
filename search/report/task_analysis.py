"""Analyse the predictions of a run's best models for each task: plot, metrics, the worst rows with their text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go
from tokenizers import Tokenizer

from model.checkpoint_files import TOKENIZER
from model.errors import InputError, first_line
from search.report.dev_predictions import DevPredictions, ensemble_predictions, round_predictions
from search.report.prediction_metrics import (
    ClassMetrics,
    RegressionMetrics,
    adjacent_share,
    class_metrics,
    confusion_matrix,
    regression_metrics,
    worst_and_best,
)
from search.report.prediction_plots import PLOTS
from search.report.run_data import BestRound
from search.report.worst_rows import Example, examples
from search.runs.run import Run
from trainers.data.corpus import Corpus, Split
from trainers.tasks import Task

WORST, RIGHT = 6, 4
"""Number of wrong and of right rows that are shown for each task."""
NEIGHBOURS = 2
"""Number of training rows shown beside each of the worst rows."""


@dataclass(frozen=True)
class TaskAnalysis:
    """The predictions of the best models for one task, compared with the labels."""

    task: Task
    models: list[DevPredictions]
    """Of the best round, then of the ensemble; without the models that have no predictions."""
    classes: list[list[ClassMetrics]]
    """[classes][models]; empty for a regression."""
    errors: list[RegressionMetrics]
    """[models]; empty for a classification."""
    remarks: list[str]
    """[models], one sentence each."""
    plot: go.Figure | None
    """None if no model has predictions."""
    worst: list[Example]
    """Of the best round; empty without a tokenizer."""
    right: list[Example]
    """Of the best round; empty without a tokenizer."""


def analyse(run: Run, corpus: Corpus, tasks: Sequence[Task], best: BestRound) -> list[TaskAnalysis]:
    """Analyse the predictions of a run's best round, and of its ensemble, for each task."""
    tokenizer = read_tokenizer(run)
    return [_analyse(run, with_file_labels(corpus.splits[task.name], task), task, best, tokenizer) for task in tasks]


def with_file_labels(splits: dict[str, Split], task: Task) -> dict[str, Split]:
    """Return train and dev with the labels of the data's files; in a corpus, classes start at 0."""
    first = task.low if task.kind == "classification" else 0
    return {name: replace(splits[name], labels=splits[name].labels + first) for name in ("train", "dev")}


def read_tokenizer(run: Run) -> Tokenizer | None:
    """Return the run's tokenizer; None if the run has no `encoder/`, or if its tokenizer is damaged."""
    folder = run.folder / "encoder"
    if not folder.exists(TOKENIZER):
        return None
    try:
        return Tokenizer.from_str(folder.read(TOKENIZER).decode())
    except BaseException as error:  # the library raises plain `Exception`, or a panic of Rust, which is none
        if isinstance(error, KeyboardInterrupt):
            raise
        run.note(f"Rows are shown without text: {folder}/{TOKENIZER} cannot be used: {first_line(error)}.")
        return None


def _analyse(
    run: Run, splits: dict[str, Split], task: Task, best: BestRound, tokenizer: Tokenizer | None
) -> TaskAnalysis:
    dev = splits["dev"]
    of_round = _noted(run, lambda: round_predictions(best.trial, best.row.round, task, dev))
    of_ensemble = _noted(run, lambda: ensemble_predictions(run, task, dev))
    models = [model for model in (of_round, of_ensemble) if model and len(model.rows)]
    worst, right = _examples(task, of_round, splits, tokenizer) if of_round and tokenizer else ([], [])
    labels = {name: split.labels[np.isfinite(split.labels)] for name, split in splits.items()}
    regression = task.kind == "regression"
    return TaskAnalysis(
        task,
        models,
        [] if regression else _classes(task, models),
        [regression_metrics(model) for model in models] if regression else [],
        [_remark(task, model) for model in models],
        PLOTS[task.kind](task, models, labels) if models else None,
        worst,
        right,
    )


def _noted(run: Run, read: Callable[[], DevPredictions | None]) -> DevPredictions | None:
    """Return the predictions that a function reads; None, and a line for the user, if they cannot be read."""
    try:
        return read()
    except InputError as error:
        run.note(f"Predictions are left out of the report: {error}")
        return None


def _classes(task: Task, models: Sequence[DevPredictions]) -> list[list[ClassMetrics]]:
    """Return the metrics of each class, [classes][models]."""
    low, high = int(task.low), int(task.high)
    by_model = [class_metrics(confusion_matrix(model, low, high), low) for model in models]
    return [list(row) for row in zip(*by_model, strict=True)]


def _examples(
    task: Task, predictions: DevPredictions, splits: dict[str, Split], tokenizer: Tokenizer
) -> tuple[list[Example], list[Example]]:
    """Return the worst rows and the best rows with their texts."""
    worst, right = worst_and_best(predictions, regression=task.kind == "regression", worst=WORST, best=RIGHT)
    return (
        examples(predictions, worst, splits, tokenizer, neighbours=NEIGHBOURS),
        examples(predictions, right, splits, tokenizer, neighbours=0),
    )


def _remark(task: Task, model: DevPredictions) -> str:
    """Describe how many rows a model predicts, and what is unusual about the labels or the predictions."""
    clauses = [f"{model.model}: {len(model.rows):,} labelled rows"]
    if (model.labels == model.labels[0]).all():
        clauses.append(f"every label is {model.labels[0]:g}, so the metrics say little")
    if (model.values == model.values[0]).all():
        clauses.append(f"every prediction is {model.values[0]:.4g}")
    if task.kind == "classification":
        adjacent = adjacent_share(confusion_matrix(model, int(task.low), int(task.high)))
        if np.isfinite(adjacent):
            clauses.append(f"{adjacent:.0%} of the wrong predictions are off by one class")
    return "; ".join(clauses) + "."
