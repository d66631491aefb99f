"""Generate libraries of candidates, and read the candidates of runs."""

from collections.abc import Mapping

import numpy as np

from search.runs.run import Run
from search.selection.candidates import CandidateMetrics, Candidates, kept_rounds, measure_candidates, read_shortlisted
from search.selection.library import Library
from trainers.evaluation.scores import predictions
from trainers.tasks import TASKS, Kind, Task

TASK_OF_KIND: dict[Kind, Task] = {TASKS[name].kind: TASKS[name] for name in ("sst", "qqp", "sts")}
"""A built-in task of each kind."""


def example_library(kind: Kind, *, candidates: int = 12, rows: int = 200, skill: float = 1.0, seed: int = 0) -> Library:
    """Return candidates that predict the labels times `skill` plus noise; a part of the noise is common to all."""
    generator = np.random.default_rng(seed)
    width = 5 if kind == "classification" else 1
    if kind == "regression":
        labels = generator.uniform(0, 5, rows)
        signal = labels[:, None]
    else:
        labels = generator.integers(5 if kind == "classification" else 2, size=rows)
        signal = np.eye(5)[labels] * 2 if kind == "classification" else 2 * labels[:, None] - 1
    noise = generator.normal(size=(1, rows, width)) + generator.normal(size=(candidates, rows, width))
    skills = skill * generator.uniform(0.5, 1, size=(candidates, 1, 1))
    outputs = (skills * signal + noise).astype(np.float32)
    return Library(TASK_OF_KIND[kind], predictions(kind, outputs), labels.astype(np.float32))


def measured(runs: list[Run], tasks: Mapping[str, Task]) -> dict[str, CandidateMetrics]:
    """Return the metrics of all kept rounds; the rows are assigned to folds with seed 0."""
    return measure_candidates(runs, kept_rounds(runs), tasks, dict.fromkeys(tasks, 0))


def shortlisted(runs: list[Run], tasks: Mapping[str, Task]) -> dict[str, Candidates]:
    """Return the shortlisted rounds of each task, with their predictions."""
    return read_shortlisted(runs, kept_rounds(runs), measured(runs, tasks))
