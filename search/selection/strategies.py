"""Choose which candidates form the ensemble of one task, and with what weights."""

from collections.abc import Callable
from functools import partial

import numpy as np

from search.selection.combiners import COMBINERS, Combiner
from search.selection.library import Library, Selection
from search.selection.running_metrics import RUNNING_METRICS

START = 5
"""The best candidates, with which forward selection begins and of which a soft vote consists."""
DRAWS = 50
BAGS = 20
MEMBERS = 10
"""The most that Caruana's selection ends with: each costs a pass over dev and test, and later every request."""
Strategy = Callable[[Library, np.random.Generator], Selection]


def caruana(library: Library, draw: np.random.Generator) -> Selection:
    """Average the forward selections from random halves of the library, and keep the members that weigh most.

    An average of bags may fall below the best candidate on the rows it was chosen on. Then the selection from the whole
    library takes its place, which cannot.

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
    """Add candidates from best to worst, each once, if the ensemble's metric does not fall: the reports' rule.

    Args:
        of_values: how the members' values combine; classes are voted on.

    Source: report 000 (mean of values), report 002 (median).
    """
    rule = _rule(library, of_values)
    ensemble: Combiner = COMBINERS[rule]()
    members, best = [], -np.inf
    for candidate in library.ranking:
        larger = ensemble.add(library.predictions[candidate], 1.0)
        reached = library.metric(larger.result())
        if reached >= best:
            ensemble, best = larger, reached
            members.append(candidate)
    return Selection(_equal_weights(library, members), rule)


def vote(library: Library, draw: np.random.Generator, *, of_values: str) -> Selection:
    """Take all candidates, chosen by hand before: classes are voted on, values combine as `of_values` says.

    Source: report 002 (five models; median of values), report 000 (mean).
    """
    return Selection(_equal_weights(library, library.ranking), _rule(library, of_values))


def soft_vote(library: Library, draw: np.random.Generator) -> Selection:
    """Average the best few candidates."""
    return Selection(_equal_weights(library, library.ranking[:START]), "mean")


def uniform(library: Library, draw: np.random.Generator) -> Selection:
    """Average all candidates."""
    return Selection(_equal_weights(library, library.ranking), "mean")


def single(library: Library, draw: np.random.Generator) -> Selection:
    """Take the best candidate: what ensembles are compared with."""
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
    """Grow an ensemble from the best few by whichever candidate helps most, drawing with replacement.

    Args:
        available: numbers of the candidates that may be drawn.

    Returns:
        [candidates], how often each was drawn up to the first best ensemble, as shares.

    Source: Caruana et al. 2004, sections 2 to 2.2; ties of the metric are broken by the loss.
    """
    running = RUNNING_METRICS[library.kind](library.predictions[available], library.labels)
    drawn = _distinct_best(library, available)
    for place in drawn:
        running.add(place)
    total = library.predictions[available[drawn]].sum(axis=0, dtype=np.float64)
    while len(drawn) < START + DRAWS and len(set(drawn)) <= MEMBERS:
        reached = running.reached()
        tied = np.flatnonzero(reached == reached.max())
        if len(tied) > 1:
            means = (total + library.predictions[available[tied]]) / (len(drawn) + 1)
            tied = tied[[library.loss(means).argmin()]]
        drawn.append(int(tied[0]))
        running.add(drawn[-1])
        total += library.predictions[available[drawn[-1]]]
    return _best_prefix(library, available[drawn])


def _distinct_best(library: Library, available: np.ndarray) -> list[int]:
    """Return places in `available` of the best few; a copy of a candidate, which adds nothing, takes no place."""
    order = library.ranking[np.isin(library.ranking, available)]
    figures = np.stack([library.metrics[order], library.losses[order]])
    distinct = (np.diff(figures, axis=1, prepend=np.nan) != 0).any(axis=0)
    place = np.zeros(len(library), np.int64)
    place[available] = np.arange(len(available))
    return place[order[distinct][:START]].tolist()


def _best_prefix(library: Library, drawn: np.ndarray) -> np.ndarray:
    members = np.cumsum(np.isin(np.arange(len(drawn)), np.unique(drawn, return_index=True)[1]))
    drawn = drawn[members <= MEMBERS]
    counts = np.arange(1, len(drawn) + 1)[:, None, None]
    means = (library.predictions[drawn].cumsum(axis=0, dtype=np.float64) / counts).astype(np.float32)
    best = np.lexsort((library.loss(means), -library.metric(means)))[0]
    return np.bincount(drawn[: best + 1], minlength=len(library)) / (best + 1)


def _rule(library: Library, of_values: str) -> str:
    return of_values if library.kind == "regression" else "vote"


def _equal_weights(library: Library, members: np.ndarray | list[int]) -> np.ndarray:
    weights = np.zeros(len(library))
    weights[members] = 1 / len(members)
    return weights
