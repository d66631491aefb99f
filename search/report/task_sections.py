"""A run and its best round -> what the report says of each task: figures, numbers, the worst rows with their text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go
from tokenizers import Tokenizer

from model.checkpoint_files import TOKENIZER
from search.report.answer_metrics import (
    ClassFigures,
    ErrorFigures,
    adjacent_share,
    class_figures,
    confusion,
    error_figures,
    worst_and_best,
)
from search.report.answer_plots import FIGURES
from search.report.answers import Answers, answers_of_ensemble, answers_of_round
from search.report.worst_rows import Example, examples
from search.runs.run import Run
from search.runs.trial_record import Trial
from trainers.data.corpus import Corpus, Split
from trainers.tasks import Task

WORST, RIGHT = 6, 4
"""Rows of a task that are shown."""
NEIGHBOURS = 2
"""Training rows beside each of the worst."""


@dataclass(frozen=True)
class Section:
    """What the report says of one task."""

    task: Task
    models: list[Answers]
    """The best round, and the ensemble if it has predicted dev; empty if neither has."""
    classes: list[list[ClassFigures]]
    """[classes][models]; empty for a regression."""
    errors: list[ErrorFigures]
    """[models]; empty for classes."""
    remarks: list[str]
    """[models], sentences."""
    figure: go.Figure | None
    """None without models."""
    worst: list[Example]
    """Of the best round."""
    right: list[Example]
    """Of the best round."""


def sections(run: Run, corpus: Corpus, tasks: Sequence[Task], best: tuple[Trial, int]) -> list[Section]:
    """Say what there is to say of each task.

    Args:
        best: a trial and its best round.
    """
    tokenizer = read_tokenizer(run)
    return [_section(run, filed(corpus.splits[task.name], task), task, best, tokenizer) for task in tasks]


def filed(splits: dict[str, Split], task: Task) -> dict[str, Split]:
    """Return train and dev with their labels as the data's files have them: a corpus counts classes from 0."""
    first = task.low if task.kind == "classification" else 0
    return {name: replace(splits[name], labels=splits[name].labels + first) for name in ("train", "dev")}


def read_tokenizer(run: Run) -> Tokenizer | None:
    """Return the run's tokenizer; None if the run has no encoder beside it."""
    folder = run.folder / "encoder"
    return Tokenizer.from_str(folder.read(TOKENIZER).decode()) if folder.exists(TOKENIZER) else None


def _section(
    run: Run, splits: dict[str, Split], task: Task, best: tuple[Trial, int], tokenizer: Tokenizer | None
) -> Section:
    dev = splits["dev"]
    alone, ensemble = answers_of_round(*best, task, dev), answers_of_ensemble(run, task, dev)
    models = [model for model in (alone, ensemble) if model]
    worst, right = _told(task, alone, splits, tokenizer) if alone and tokenizer else ([], [])
    labels = {name: split.labels[np.isfinite(split.labels)] for name, split in splits.items()}
    return Section(
        task,
        models,
        [] if task.kind == "regression" else _classes(task, models),
        [error_figures(model) for model in models] if task.kind == "regression" else [],
        [_remark(task, model) for model in models],
        FIGURES[task.kind](task, models, labels) if models else None,
        worst,
        right,
    )


def _classes(task: Task, models: Sequence[Answers]) -> list[list[ClassFigures]]:
    """Return the figures of each class, [classes][models]."""
    low, high = int(task.low), int(task.high)
    found = [class_figures(confusion(model, low, high), low) for model in models]
    return [list(row) for row in zip(*found, strict=True)]


def _told(
    task: Task, answers: Answers, splits: dict[str, Split], tokenizer: Tokenizer
) -> tuple[list[Example], list[Example]]:
    worst, right = worst_and_best(answers, regression=task.kind == "regression", worst=WORST, best=RIGHT)
    return (
        examples(answers, worst, splits, tokenizer, neighbours=NEIGHBOURS),
        examples(answers, right, splits, tokenizer, neighbours=0),
    )


def _remark(task: Task, model: Answers) -> str:
    """Say how much a model answers, and what is odd about the rows or the answers."""
    clauses = [f"{model.model}: {len(model.rows):,} labelled rows"]
    if (model.labels == model.labels[0]).all():
        clauses.append(f"every label is {model.labels[0]:g}, so nothing is told apart")
    if (model.values == model.values[0]).all():
        clauses.append(f"every row gets the same answer, {model.values[0]:.4g}")
    if task.kind == "classification":
        adjacent = adjacent_share(confusion(model, int(task.low), int(task.high)))
        if np.isfinite(adjacent):
            clauses.append(f"{adjacent:.0%} of the errors fall in an adjacent class")
    return "; ".join(clauses) + "."
