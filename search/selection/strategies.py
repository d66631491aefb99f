"""Strategies that select the members of one task's ensemble and their weights."""

from collections.abc import Callable
from functools import partial

import numpy as np

from search.selection.combiners import COMBINERS, Combiner
from search.selection.library import Library, Selection
from search.selection.running_metrics import running_metric

START = 5
"""Number of best candidates with which forward selection starts and which a soft vote averages."""
DRAWS = 50
BAGS = 20
MEMBERS = 10
"""Maximum number of members of Caruana's selection: each must predict dev, test and every later request."""
Strategy = Callable[[Library, np.random.Generator], Selection]


def caruana(library: Library, draw: np.random.Generator) -> Selection:
    """Average the forward selections from random halves of the library; keep the members with the largest weights.

    This average may be worse than the best candidate on the rows of the selection. Then return the forward selection
    from the whole library, which is never worse.

    Source: Caruana et al. 2004, Ensemble Selection from Libraries of Models, sections 2.1 to 2.3.
    """
    half = (len(library) + 1) // 2
    bags = [forward_selection(library, draw.permutation(len(library))[:half]) for _ in range(BAGS)]
    weights = np.mean(bags, axis=0)
    weights[np.argsort(-weights, kind="stable")[MEMBERS:]] = 0
    bagged = Selection(weights / weights.sum(), "mean")
    if library.metric(bagged.combine(library.predictions)) >= library.metrics.max():
        return bagged
    return Selection(forward_selection(library, np.arange(len(library))), "mean")


def greedy(library: Library, draw: np.random.Generator, *, of_values: str) -> Selection:
    """Add candidates from best to worst, each once, if the ensemble's metric does not fall: the rule of the reports.

    Args:
        of_values: the rule that combines values; classes are combined by vote.

    Source: report 000 (mean of values), report 002 (median).
    """
    rule = _rule(library, of_values)
    ensemble: Combiner = COMBINERS[rule]()
    members, best_metric = [], -np.inf
    for candidate in library.ranking:
        larger = ensemble.add(library.predictions[candidate], 1.0)
        metric = library.metric(larger.result())
        if metric >= best_metric:
            ensemble, best_metric = larger, metric
            members.append(candidate)
    return Selection(_equal_weights(library, members), rule)


def vote(library: Library, draw: np.random.Generator, *, of_values: str) -> Selection:
    """Take all candidates: combine classes by vote, and values by the rule `of_values`.

    Source: report 002 (five models; median of values), report 000 (mean).
    """
    return Selection(_equal_weights(library, library.ranking), _rule(library, of_values))


def soft_vote(library: Library, draw: np.random.Generator) -> Selection:
    """Average the START best candidates."""
    return Selection(_equal_weights(library, library.ranking[:START]), "mean")


def uniform(library: Library, draw: np.random.Generator) -> Selection:
    """Average all candidates."""
    return Selection(_equal_weights(library, library.ranking), "mean")


def single(library: Library, draw: np.random.Generator) -> Selection:
    """Take the best candidate alone, as the baseline of all ensembles."""
    return Selection(_equal_weights(library, library.ranking[:1]), "mean")


STRATEGIES: dict[str, Strategy] = {
    "caruana": caruana,
    "greedy": partial(greedy, of_values="mean"),
    "greedy_median": partial(greedy, of_values="median"),
    "vote": partial(vote, of_values="mean"),
    "vote_median": partial(vote, of_values="median"),
    "soft_vote": soft_vote,
    "uniform": uniform,
    "single": single,
}


def forward_selection(library: Library, available: np.ndarray) -> np.ndarray:
    """Start from the best few candidates; repeatedly add the candidate, with replacement, that helps most.

    Args:
        available: numbers of the candidates that may be added.

    Returns:
        [candidates], the share of each candidate in the first best ensemble on the path.

    Source: Caruana et al. 2004, sections 2 to 2.2; the loss breaks ties of the metric.
    """
    running = running_metric(library.task.metric, library.predictions[available], library.labels)
    added = _distinct_best(library, available)
    for place in added:
        running.add(place)
    total = library.predictions[available[added]].sum(axis=0, dtype=np.float64)
    while len(added) < START + DRAWS and len(set(added)) <= MEMBERS:
        metrics = running.with_each()
        tied = np.flatnonzero(metrics == metrics.max())
        if len(tied) > 1:
            means = (total + library.predictions[available[tied]]) / (len(added) + 1)
            tied = tied[[library.loss(means).argmin()]]
        added.append(int(tied[0]))
        running.add(added[-1])
        total += library.predictions[available[added[-1]]]
    return _best_prefix(library, available[added])


def _distinct_best(library: Library, available: np.ndarray) -> list[int]:
    """Return the places in `available` of the best few candidates, without copies of a candidate."""
    order = library.ranking[np.isin(library.ranking, available)]
    measures = np.stack([library.metrics[order], library.losses[order]])
    distinct = (np.diff(measures, axis=1, prepend=np.nan) != 0).any(axis=0)
    place = np.zeros(len(library), np.int64)
    place[available] = np.arange(len(available))
    return place[order[distinct][:START]].tolist()


def _best_prefix(library: Library, added: np.ndarray) -> np.ndarray:
    members = np.cumsum(np.isin(np.arange(len(added)), np.unique(added, return_index=True)[1]))
    added = added[members <= MEMBERS]
    counts = np.arange(1, len(added) + 1)[:, None, None]
    means = (library.predictions[added].cumsum(axis=0, dtype=np.float64) / counts).astype(np.float32)
    best = np.lexsort((library.loss(means), -library.metric(means)))[0]
    return np.bincount(added[: best + 1], minlength=len(library)) / (best + 1)


def _rule(library: Library, of_values: str) -> str:
    return of_values if library.task.kind == "regression" else "vote"


def _equal_weights(library: Library, members: np.ndarray | list[int]) -> np.ndarray:
    weights = np.zeros(len(library))
    weights[members] = 1 / len(members)
    return weights
