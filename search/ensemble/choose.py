"""Choose each task's ensemble from one or more runs; estimate its dev metric and its cross-fitted metric."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap

import numpy as np

from model.errors import unknown
from search.choices import DEFAULT_SOUP, DEFAULT_STRATEGY
from search.ensemble.estimates import (
    EnsembleEstimates,
    Estimate,
    SingleEstimates,
    StrategyEstimates,
    TaskEstimates,
)
from search.ensemble.members import Ensemble, members_of
from search.ensemble.predict import StarMap
from search.ensemble.soup import SOUPS, Soup, WeightAverages, make_soups
from search.runs.objectives import SCORE
from search.runs.run import Run
from search.selection.bootstrap import Resampled, ResampledMetrics, interval, resampled_metrics, resampled_score
from search.selection.candidates import (
    Candidate,
    CandidateMetrics,
    Candidates,
    kept_rounds,
    measure_candidates,
    read_shortlisted,
    searched_tasks,
)
from search.selection.cross_fitting import MASKS, CrossFitted, Fold, cross_fit, cross_fit_single, make_folds, row_masks
from search.selection.library import Library, Selection, tasks_of
from search.selection.shortlist import best_candidates
from search.selection.strategies import STRATEGIES
from trainers.evaluation.scores import predictions, score
from trainers.seeds import numpy_generator, seed_of


@dataclass(frozen=True)
class Chosen:
    """An ensemble and its estimates, not yet written."""

    ensemble: Ensemble
    estimates: EnsembleEstimates
    notes: list[str]
    """A line about each candidate that was skipped."""
    soup: Soup | None


@dataclass(frozen=True)
class Shortlist:
    """The candidates of one task among which a strategy selects, on all rows and in each fold."""

    names: list[Candidate]
    library: Library
    folds: list[Fold]


@dataclass(frozen=True)
class Selected:
    """The selection of a strategy for one task, and its predictions."""

    selection: Selection
    dev: np.ndarray
    """[rows, width], predictions of the rows on which the selection was made."""
    cross_fitted: CrossFitted
    """Predictions of each row by a selection made without the row's fold."""


def choose(
    runs: list[Run],
    strategy: str = DEFAULT_STRATEGY,
    seed: int = 0,
    *,
    soup: str = DEFAULT_SOUP,
    starmap: StarMap = starmap,
    without: Container[Candidate] = (),
) -> Chosen:
    """Select the members of every task's ensemble.

    Every choice made here is cross-fitted, that of the soup too. The choice of the rounds whose weights are on disk is
    not: the search kept the best rounds by their metrics on all rows.

    Args:
        soup: method that averages rounds of the first run into one more candidate, a name in SOUPS.
        starmap: calls the evaluation of each average, here or on other machines.
        without: rounds that are no candidates.

    Raises:
        InputError: the strategy or the soup is unknown, or there is nothing to choose from.
        DamagedRounds: the weights of rounds that a soup averages cannot be used.
    """
    _check_names(strategy, soup)
    tasks = searched_tasks(runs)
    seeds = {task: seed_of(seed, "ensemble", task) for task in tasks}
    rounds = {name: folder for name, folder in kept_rounds(runs).items() if name not in without}
    measured = measure_candidates(runs, rounds, tasks, seeds)
    candidates = read_shortlisted(runs, rounds, measured)
    soups = _soups(soup, runs[0], candidates, measured, seeds, starmap)
    shortlists = {task: _shortlist(task, found, soups, seeds[task]) for task, found in candidates.items()}
    selected = {name: _select_tasks(name, shortlists, seeds) for name in STRATEGIES}
    libraries = {task: found.library for task, found in candidates.items()}
    estimates = EnsembleEstimates(
        *_compare_with_single(candidates, selected[strategy], seeds),
        strategy,
        seed,
        sorted(soups[0].ingredients) if soups[0] else [],
        {task: len(library.labels) for task, library in libraries.items()},
        {task: len(found.names) for task, found in measured.items()},
        [_strategy_estimates(name, found, libraries) for name, found in selected.items()],
    )
    ensemble = _ensemble(strategy, shortlists, selected[strategy])
    return Chosen(ensemble, estimates, [note for found in measured.values() for note in found.notes], soups[0])


def _check_names(strategy: str, soup: str) -> None:
    for kind, name, known in (("strategy", strategy, STRATEGIES), ("soup", soup, SOUPS)):
        if name not in known:
            raise unknown(kind, name, known)


def _soups(
    method: str,
    run: Run,
    candidates: Mapping[str, Candidates],
    measured: Mapping[str, CandidateMetrics],
    seeds: Mapping[str, int],
    starmap: StarMap,
) -> list[Soup | None]:
    """Make a run's soups for the tasks that it was searched for: chosen on all rows, then without each fold."""
    own = run.search.tasks
    masks = {task: row_masks(candidates[task].library.labels, seeds[task]) for task in own}
    averages = WeightAverages(run, {task: candidates[task] for task in own}, masks, starmap)
    return make_soups(method, run, {task: measured[task] for task in own}, averages)


def _shortlist(task: str, found: Candidates, soups: Sequence[Soup | None], seed: int) -> Shortlist:
    """Return the best candidates, on all rows and in each fold.

    Args:
        soups: [masks]; the soup of each mask joins the rounds, unless it is None or lacks the task.
    """
    kind, names = found.library.task.kind, found.names
    libraries = [found.library] * len(soups)
    for mask, soup in enumerate(soups):
        if soup and task in soup.outputs:
            libraries[mask] = found.library.joined(predictions(kind, soup.outputs[task][None]))
            names = [*found.names, soup.name] if mask == 0 else names
    chosen = best_candidates(libraries[0])
    folds = make_folds(libraries[1:], seed)
    return Shortlist([names[number] for number in chosen], libraries[0].candidates(chosen), folds)


def _select_tasks(strategy: str, shortlists: Mapping[str, Shortlist], seeds: Mapping[str, int]) -> dict[str, Selected]:
    return {task: _select(strategy, found, seeds[task]) for task, found in shortlists.items()}


def _select(strategy: str, shortlist: Shortlist, seed: int) -> Selected:
    selection = STRATEGIES[strategy](shortlist.library, numpy_generator(seed, "select", strategy))
    dev = selection.combine(shortlist.library.predictions)
    return Selected(selection, dev, cross_fit(STRATEGIES[strategy], shortlist.folds, seed))


def _ensemble(strategy: str, shortlists: Mapping[str, Shortlist], selected: Mapping[str, Selected]) -> Ensemble:
    return Ensemble(
        strategy,
        {task: found.selection.rule for task, found in selected.items()},
        {task: members_of(shortlist.names, selected[task].selection) for task, shortlist in shortlists.items()},
    )


def _compare_with_single(
    candidates: Mapping[str, Candidates], selected: Mapping[str, Selected], seeds: Mapping[str, int]
) -> tuple[dict[str, TaskEstimates], TaskEstimates]:
    """Estimate each task's metric, and the score, of the ensemble and of the best single candidate."""
    metrics, estimates = {}, {}
    for task, found in candidates.items():
        metrics[task] = _resampled(found, selected[task], seeds[task])
        rounds = _shortlist(task, found, [None] * MASKS, seeds[task])  # without the soup, which is no single round
        single = _select("single", rounds, seeds[task])
        name = rounds.names[single.selection.weights.argmax()]
        estimates[task] = _task_estimates(metrics[task], name, _resampled(found, single, seeds[task]))
    tasks = {task: found.library.task for task, found in candidates.items()}
    return estimates, _task_estimates(resampled_score(metrics, tasks), *_best_overall(candidates, seeds))


def _best_overall(
    candidates: Mapping[str, Candidates], seeds: Mapping[str, int]
) -> tuple[Candidate, ResampledMetrics] | tuple[None, None]:
    """Return the candidate with the best score over all tasks; None if no candidate predicts all tasks."""
    shared = [
        name
        for name in next(iter(candidates.values())).names
        if all(name in found.names for found in candidates.values())
    ]
    if not shared:
        return None, None
    libraries = {
        task: found.library.candidates([found.names.index(name) for name in shared])
        for task, found in candidates.items()
    }
    tasks = tasks_of(libraries)
    best = int(score({task: library.metrics for task, library in libraries.items()}, tasks).argmax())
    cross_fitted = cross_fit_single(libraries, seeds)
    metrics = {
        task: resampled_metrics(library, library.predictions[best], cross_fitted[task], seeds[task])
        for task, library in libraries.items()
    }
    return shared[best], resampled_score(metrics, tasks)


def _resampled(found: Candidates, selected: Selected, seed: int) -> ResampledMetrics:
    return resampled_metrics(found.library, selected.dev, selected.cross_fitted, seed)


def _task_estimates(
    ensemble: ResampledMetrics, name: Candidate | None, single: ResampledMetrics | None
) -> TaskEstimates:
    dev, cross_fitted = _estimate(ensemble.dev), _estimate(ensemble.cross_fitted)
    if name is None or single is None:
        return TaskEstimates(dev, cross_fitted, None, None)
    # Both are resampled on the same rows, so the difficulty of the rows cancels in the difference.
    gain = Resampled(
        ensemble.cross_fitted.value - single.cross_fitted.value,
        ensemble.cross_fitted.resamples - single.cross_fitted.resamples,
    )
    best_single = SingleEstimates(name, _estimate(single.dev), _estimate(single.cross_fitted))
    return TaskEstimates(dev, cross_fitted, best_single, _estimate(gain))


def _estimate(resampled: Resampled) -> Estimate:
    return Estimate(resampled.value, *interval(resampled.resamples))


def _strategy_estimates(
    name: str, selected: dict[str, Selected], libraries: Mapping[str, Library]
) -> StrategyEstimates:
    tasks = tasks_of(libraries)
    dev = {task: float(libraries[task].metric(found.dev)) for task, found in selected.items()}
    cross_fitted = {task: found.cross_fitted.metric(libraries[task]) for task, found in selected.items()}
    return StrategyEstimates(
        name,
        {task: int(np.count_nonzero(found.selection.weights)) for task, found in selected.items()},
        dev | {SCORE: float(score(dev, tasks))},
        cross_fitted | {SCORE: float(score(cross_fitted, tasks))},
    )
