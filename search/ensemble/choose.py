"""Candidates of one run or several -> members for every task, what they score on dev, and what they would elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import starmap

import numpy as np

from model.errors import unknown
from search.ensemble.estimates import (
    EnsembleEstimates,
    Estimate,
    SingleEstimates,
    StrategyEstimates,
    TaskEstimates,
)
from search.ensemble.members import Ensemble, Member
from search.ensemble.predict import Each
from search.ensemble.soup import SOUPS, Averages, Soup, cook
from search.runs.objectives import SCORE
from search.runs.run import Run
from search.selection.candidates import Candidate, Candidates, Standings, collect, compare, kept_rounds, searched_tasks
from search.selection.cross_fitting import (
    VIEWS,
    Figure,
    Figures,
    Held,
    cross_fit,
    cross_fit_single,
    deal,
    figures_of,
    interval,
    mean_figures,
    views,
)
from search.selection.library import Library, Selection
from search.selection.shortlist import best
from search.selection.strategies import STRATEGIES
from trainers.evaluation.scores import predictions, score
from trainers.seeds import numpy_generator, seed_of

DEFAULT = "caruana"
"""Ahead of the reports' greedy rule by .006 and .007 on rows that neither saw, among the rounds of 72 and 160 trials,
and by .020 when cross-fitted among the 160; with about twice as many models to load.
"""


@dataclass(frozen=True)
class Chosen:
    """An ensemble and its estimates, not yet written."""

    ensemble: Ensemble
    estimates: EnsembleEstimates
    notes: list[str]
    """What was left out, in words."""
    soup: Soup | None


@dataclass(frozen=True)
class Choice:
    """What the members of one task are chosen from."""

    names: list[Candidate]
    library: Library
    dealt: list[Held]


@dataclass(frozen=True)
class Picked:
    """What a strategy makes of one task's candidates."""

    selection: Selection
    dev: np.ndarray
    """[rows, width], predictions of the rows on which the selection was made."""
    cross_fitted: np.ndarray
    """[rows, width], predictions of each row by a selection made without it."""


def choose(
    runs: list[Run], strategy: str = DEFAULT, seed: int = 0, *, soup: str = "none", each: Each = starmap
) -> Chosen:
    """Choose members for every task of the runs.

    All that is chosen here is cross-fitted, the soup too. Which rounds a search kept weights of is not: it kept the
    best by all rows.

    Args:
        soup: how rounds of the first run are averaged into one more candidate, a name in SOUPS.
        each: how averages are evaluated, here or on many machines.

    Raises:
        InputError: the strategy or the soup is unknown, or there is nothing to choose from.
    """
    _check_names(strategy, soup)
    tasks = searched_tasks(runs)
    seeds = {task: seed_of(seed, "ensemble", task) for task in tasks}
    rounds = kept_rounds(runs)
    standings = compare(runs, rounds, tasks, seeds)
    candidates = collect(runs, rounds, standings)
    soups = _soups(soup, runs[0], candidates, standings, seeds, each)
    choices = {task: _choice(task, found, soups, seeds[task]) for task, found in candidates.items()}
    picked = {name: {task: _pick(name, choice, seeds[task]) for task, choice in choices.items()} for name in STRATEGIES}
    ensemble = Ensemble(
        strategy,
        {task: found.selection.rule for task, found in picked[strategy].items()},
        {task: _members(choice, picked[strategy][task].selection) for task, choice in choices.items()},
    )
    libraries = {task: found.library for task, found in candidates.items()}
    figures = {task: _figures(found, picked[strategy][task], seeds[task]) for task, found in candidates.items()}
    estimates = EnsembleEstimates(
        _task_estimates(candidates, figures, seeds),
        _beside(mean_figures(figures, libraries), *_best_single(candidates, seeds)),
        strategy,
        seed,
        sorted(soups[0].ingredients) if soups[0] else [],
        {task: len(library.labels) for task, library in libraries.items()},
        {task: len(found.names) for task, found in standings.items()},
        [_strategy_estimates(name, found, libraries) for name, found in picked.items()],
    )
    return Chosen(ensemble, estimates, [note for found in standings.values() for note in found.notes], soups[0])


def _check_names(strategy: str, soup: str) -> None:
    for kind, name, known in (("strategy", strategy, STRATEGIES), ("soup", soup, SOUPS)):
        if name not in known:
            raise unknown(kind, name, known)


def _soups(
    recipe: str,
    run: Run,
    candidates: Mapping[str, Candidates],
    standings: Mapping[str, Standings],
    seeds: Mapping[str, int],
    each: Each,
) -> list[Soup | None]:
    """Make the soup of a run, for the tasks that it was searched for: by all rows, and without each fold."""
    own = run.search.tasks
    seen = {task: views(candidates[task].library.labels, seeds[task]) for task in own}
    averages = Averages(run, {task: candidates[task] for task in own}, seen, each)
    return cook(recipe, run, {task: standings[task] for task in own}, averages)


def _choice(task: str, found: Candidates, soups: Sequence[Soup | None], seed: int) -> Choice:
    """Return what is chosen from: the best candidates.

    Args:
        soups: [views]; where there is none, or one of other tasks, the rounds stand alone.
    """
    kind, names = found.library.kind, found.names
    libraries = [found.library] * len(soups)
    for view, soup in enumerate(soups):
        if soup and task in soup.outputs:
            libraries[view] = found.library.joined(predictions(kind, soup.outputs[task][None]))
            names = [*found.names, soup.name] if view == 0 else names
    chosen = best(libraries[0])
    dealt = deal(libraries[1:], seed)
    return Choice([names[number] for number in chosen], libraries[0].candidates(chosen), dealt)


def _pick(strategy: str, choice: Choice, seed: int) -> Picked:
    selection = STRATEGIES[strategy](choice.library, numpy_generator(seed, "select", strategy))
    dev = selection.combine(choice.library.predictions)
    return Picked(selection, dev, cross_fit(STRATEGIES[strategy], choice.dealt, seed))


def _members(choice: Choice, selection: Selection) -> list[Member]:
    weighty = [number for number in np.argsort(-selection.weights, kind="stable") if selection.weights[number] > 0]
    return [Member(**asdict(choice.names[number]), weight=float(selection.weights[number])) for number in weighty]


def _task_estimates(
    candidates: Mapping[str, Candidates], ensemble: Mapping[str, Figures], seeds: Mapping[str, int]
) -> dict[str, TaskEstimates]:
    """Estimate the metric of each task's ensemble, beside that of the task's own best round."""
    estimates = {}
    for task, found in candidates.items():
        alone = _choice(task, found, [None] * VIEWS, seeds[task])  # a soup is no single run
        single = _pick("single", alone, seeds[task])
        name = alone.names[single.selection.weights.argmax()]
        estimates[task] = _beside(ensemble[task], name, _figures(found, single, seeds[task]))
    return estimates


def _best_single(
    candidates: Mapping[str, Candidates], seeds: Mapping[str, int]
) -> tuple[Candidate, Figures] | tuple[None, None]:
    """Return the candidate that is best over all tasks; none if none predicts them all."""
    shared = [
        name for name in next(iter(candidates.values())).names if all(name in c.names for c in candidates.values())
    ]
    if not shared:
        return None, None
    libraries = {
        task: found.library.candidates([found.names.index(name) for name in shared])
        for task, found in candidates.items()
    }
    best = int(score({task: library.metrics for task, library in libraries.items()}, libraries).argmax())
    pooled = cross_fit_single(libraries, seeds)
    figures = {
        task: figures_of(library, library.predictions[best], pooled[task], seeds[task])
        for task, library in libraries.items()
    }
    return shared[best], mean_figures(figures, libraries)


def _figures(found: Candidates, picked: Picked, seed: int) -> Figures:
    return figures_of(found.library, picked.dev, picked.cross_fitted, seed)


def _beside(ensemble: Figures, name: Candidate | None, single: Figures | None) -> TaskEstimates:
    dev, cross_fitted = _estimate(ensemble.dev), _estimate(ensemble.cross_fitted)
    if name is None or single is None:
        return TaskEstimates(dev, cross_fitted, None, None)
    # Both are resampled on the same rows, so the difficulty of the rows cancels in the difference.
    gain = Figure(
        ensemble.cross_fitted.value - single.cross_fitted.value,
        ensemble.cross_fitted.resampled - single.cross_fitted.resampled,
    )
    best_single = SingleEstimates(name, _estimate(single.dev), _estimate(single.cross_fitted))
    return TaskEstimates(dev, cross_fitted, best_single, _estimate(gain))


def _estimate(figure: Figure) -> Estimate:
    return Estimate(figure.value, *interval(figure.resampled))


def _strategy_estimates(name: str, picked: dict[str, Picked], libraries: Mapping[str, Library]) -> StrategyEstimates:
    dev = {task: float(libraries[task].metric(found.dev)) for task, found in picked.items()}
    cross_fitted = {task: float(libraries[task].metric(found.cross_fitted)) for task, found in picked.items()}
    return StrategyEstimates(
        name,
        {task: int(np.count_nonzero(found.selection.weights)) for task, found in picked.items()},
        dev | {SCORE: float(score(dev, libraries))},
        cross_fitted | {SCORE: float(score(cross_fitted, libraries))},
    )
