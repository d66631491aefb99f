"""How good a selection is on rows it was not made on (cross-fitting), and how sure that is (bootstrap over rows)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.selection.library import Library
from search.selection.shortlist import LIMIT, best
from search.selection.strategies import Strategy
from trainers.evaluation.scores import METRICS, HasKind, score
from trainers.seeds import numpy_generator
from trainers.tasks import Kind

FOLDS = 5
VIEWS = 1 + FOLDS
"""All rows, and the rows outside of each fold."""
RESAMPLES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Figure:
    """A metric of a task, or a score."""

    value: float
    resampled: np.ndarray
    """[resamples], the same on rows drawn with replacement."""


@dataclass(frozen=True)
class Figures:
    """What predictions score on the rows they were chosen on, and on rows they were not."""

    dev: Figure
    cross_fitted: Figure


@dataclass(frozen=True)
class Held:
    """A fold: rows that are held out, and the candidates from which, on all other rows, their ensemble is selected."""

    rows: np.ndarray
    """[all rows], whether a row is held out."""
    predictions: np.ndarray
    """[candidates, rows held out, width]"""
    others: Library
    """The same candidates on the other rows."""


def figures_of(library: Library, dev: np.ndarray, cross_fitted: np.ndarray, seed: int) -> Figures:
    """Score predictions [rows, width] of a library's rows.

    Args:
        dev: by a selection that was made on these rows.
        cross_fitted: by selections that were not.
    """
    found = (
        Figure(float(library.metric(predictions)), bootstrap(library.kind, predictions, library.labels, seed))
        for predictions in (dev, cross_fitted)
    )
    return Figures(*found)


def mean_figures(figures: Mapping[str, Figures], tasks: Mapping[str, HasKind]) -> Figures:
    """Return the score of the figures of all tasks; rows of different tasks are drawn independently."""
    return Figures(
        _mean({task: found.dev for task, found in figures.items()}, tasks),
        _mean({task: found.cross_fitted for task, found in figures.items()}, tasks),
    )


def folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """Deal rows to folds, [rows], so that each fold has its share of every label; values are dealt in their order."""
    order = np.lexsort((numpy_generator(seed, "folds").random(len(labels)), labels))
    dealt = np.empty(len(labels), np.int64)
    dealt[order] = np.arange(len(labels)) % FOLDS
    return dealt


def views(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return which rows selections are made on, [views, rows]: all, then those outside of each fold."""
    return folds(labels, seed) != np.arange(-1, FOLDS)[:, None]


def deal(libraries: Sequence[Library], seed: int, limit: int = LIMIT) -> list[Held]:
    """Hold each fold's rows out in turn, and cut its library to the candidates that are best on the other rows.

    Args:
        libraries: one for each fold. They differ only in candidates that were themselves made with a view to dev rows:
            those of a fold have not seen it.
    """
    dealt = folds(libraries[0].labels, seed)
    return [_held(library, dealt == fold, limit) for fold, library in enumerate(libraries)]


def cross_fit(strategy: Strategy, dealt: Sequence[Held], seed: int) -> np.ndarray:
    """Predict every row by an ensemble that was selected without it; score the result [rows, width] once, whole."""
    pooled = np.empty((len(dealt[0].rows), dealt[0].predictions.shape[-1]), np.float32)
    for fold, held in enumerate(dealt):
        selection = strategy(held.others, numpy_generator(seed, "fold", fold))
        pooled[held.rows] = selection.combine(held.predictions)
    return pooled


def cross_fit_single(libraries: Mapping[str, Library], seeds: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Do the same for the one candidate that is best over all tasks: task -> [rows, width].

    Args:
        libraries: by task; a candidate has the same number in all.
    """
    pooled = {task: np.empty(library.predictions.shape[1:], np.float32) for task, library in libraries.items()}
    dealt = {task: folds(library.labels, seeds[task]) for task, library in libraries.items()}
    for fold in range(FOLDS):
        held = {task: dealt[task] == fold for task in libraries}
        metrics = {task: library.rows(~held[task]).metrics for task, library in libraries.items()}
        best = score(metrics, libraries).argmax()
        for task, library in libraries.items():
            pooled[task][held[task]] = library.predictions[best, held[task]]
    return pooled


def bootstrap(kind: Kind, predictions: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Score `predictions` [rows, width] on rows drawn with replacement, [resamples].

    Equal seeds draw equal rows, so that two ensembles can be compared resample by resample.
    """
    draw = numpy_generator(seed, "bootstrap")
    drawn = (draw.integers(len(labels), size=len(labels)) for _ in range(RESAMPLES))
    return np.array([METRICS[kind](predictions[rows], labels[rows]) for rows in drawn])


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of metrics or scores [resamples]."""
    low, high = np.quantile(resampled, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def _held(library: Library, rows: np.ndarray, limit: int) -> Held:
    others = library.rows(~rows)
    chosen = best(others, limit)
    return Held(rows, library.predictions[chosen][:, rows], others.candidates(chosen))


def _mean(figures: Mapping[str, Figure], tasks: Mapping[str, HasKind]) -> Figure:
    value = score({task: figure.value for task, figure in figures.items()}, tasks)
    return Figure(float(value), score({task: figure.resampled for task, figure in figures.items()}, tasks))
