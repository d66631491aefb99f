"""Pareto dominance between trials: a trial dominates another if it is nowhere worse and somewhere better."""

import numpy as np


def domination_counts(values: np.ndarray) -> np.ndarray:
    """Return for each row of `values` [trials, objectives] how many rows dominate it, [trials]; higher is better."""
    if values.shape[1] == 1:  # sorted, not compared in pairs: a rung may hold thousands of trials
        return len(values) - np.searchsorted(np.sort(values[:, 0]), values[:, 0], side="right")
    nowhere_worse = _nowhere_worse(values, values)
    return (nowhere_worse & ~nowhere_worse.T).sum(axis=0)


def pareto_front(values: np.ndarray) -> np.ndarray:
    """Return which rows of `values` [trials, objectives] are on the Pareto front, [trials]; higher is better.

    Of equal rows only the first is on the front.
    """
    left, front = np.arange(len(values)), []
    while len(left):
        # No row dominates the row with the largest sum, and this row removes more rows than any other.
        first = left[values[left].sum(axis=1).argmax()]
        front.append(first)
        left = left[~_nowhere_worse(values[[first]], values[left])[0]]
    return np.isin(np.arange(len(values)), front)


def _nowhere_worse(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return [rows, others], whether a row is at least as good as another row in all objectives."""
    found = np.ones((len(rows), len(others)), bool)
    for column, other in zip(rows.T, others.T, strict=True):
        found &= column[:, None] >= other
    return found
