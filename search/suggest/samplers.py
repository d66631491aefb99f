"""Optuna samplers by name, shown stopped trials as what they were heading for, and no more trials than they can use."""

import contextlib
import copy
import statistics
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from model.errors import InputError
from search.runs.objectives import ENSEMBLE
from search.runs.pareto import pareto_front
from search.runs.trial_record import STOPPED
from search.suggest.cmaes_sampler import StatelessCmaEsSampler
from search.suggest.distributions import NumericDistribution
from search.suggest.space import RANDOM_POINTS, Space, suggest_config
from search.suggest.wrapped_samplers import DeduplicatingSampler, HistorySampler

TPE_HISTORY = 1000
"""Ended trials that TPE is shown: its time grows with them (5,000 cost .2 to .9 s), what it learns hardly does."""
GP_HISTORY = 200
"""Ended trials that a Gaussian process is shown: its time grows with their cube. Of 12 parameters it takes seconds."""
MAX_GOOD_TRIALS = 25
"""The most trials that TPE takes for good ones."""
TPE_REDRAWS = 10
"""How often TPE may draw again what was trained; the others would draw the same."""
EI_CANDIDATES = 8
"""Points of which TPE draws the most promising; Optuna's 24 keep to what it knows (`benchmarks/efficiency.py`)."""


def history(study: optuna.Study, limit: int | None, *, extrapolate: bool = True) -> list[FrozenTrial]:
    """Return the trials that a sampler is shown: the study's, those that were stopped as if they had finished.

    Early stopping stops most. TPE would rank them behind every trial that has finished, and the first ones finish
    however bad they are; the other samplers would not look at them at all.

    Args:
        limit: the most ended ones; None for all.
        extrapolate: whether to estimate the final values of stopped trials. If not, they stay stopped trials.
    """
    trials = study.get_trials(deepcopy=False)
    gains = _gains(trials) if extrapolate else None
    values = {trial.number: found for trial in trials if (found := _values(trial, gains))}
    if limit:
        trials = _bounded(trials, values, study.directions, limit)
    return [_as_finished(trial, values.get(trial.number)) for trial in trials]


def _bounded(
    trials: list[FrozenTrial],
    values: Mapping[int, Sequence[float]],
    directions: Sequence[StudyDirection],
    limit: int,
) -> list[FrozenTrial]:
    """Leave out ended trials until `limit` are left: the good ones, the newest, and of the others every so many-th.

    A function of the trials alone, so that a resumed search draws what the uninterrupted one would have.

    Args:
        values: number of a trial -> what it is worth.
    """
    ended = [trial.number for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(ended) <= limit:
        return trials
    kept = {*_good(values, directions)[: limit // 4], *ended[-limit // 4 :]}
    others = [number for number in ended if number not in kept]
    kept |= {others[int(place)] for place in np.linspace(0, len(others) - 1, limit - len(kept))}
    return [trial for trial in trials if trial.number in kept or not trial.state.is_finished()]


def _tpe(seed: int, extrapolate: bool = True) -> BaseSampler:
    with warnings.catch_warnings():
        # `group`, for the parameters that not every trial has, is still marked experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = TPESampler(seed=seed, group=True, multivariate=True, n_ei_candidates=EI_CANDIDATES)
    return _learning(sampler, seed, TPE_HISTORY, extrapolate, redraws=TPE_REDRAWS)


def _gp(seed: int, extrapolate: bool = True) -> BaseSampler:
    return _learning(GPSampler(seed=seed, warn_independent_sampling=False), seed, GP_HISTORY, extrapolate)


def _cmaes(seed: int, extrapolate: bool = True) -> BaseSampler:
    return _learning(StatelessCmaEsSampler(seed), seed, None, extrapolate)


def _learning(sampler: BaseSampler, seed: int, limit: int | None, extrapolate: bool, redraws: int = 0) -> BaseSampler:
    """Let a sampler see the history that it can use, and draw nothing twice."""
    return DeduplicatingSampler(
        HistorySampler(sampler, partial(history, limit=limit, extrapolate=extrapolate)), seed, redraws
    )


def _random(seed: int, extrapolate: bool = True) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {"tpe": _tpe, "gp": _gp, "cmaes": _cmaes, "random": _random}
"""By name: (seed, extrapolate as in `history`) -> a sampler for one trial."""


def check_sampler(name: str, space: Space, objectives: Sequence[str]) -> list[str]:
    """Try a space at random points; tell, for the user, what of it a sampler leaves to chance.

    Args:
        objectives: their names.

    Raises:
        InputError: the sampler cannot search the space, or not for so many objectives.
    """
    if name == "cmaes" and len(objectives) > 1:
        raise InputError(f"--sampler cmaes searches for one objective, not {len(objectives)}. Pass tpe, gp or random.")
    if name in ("cmaes", "gp") and ENSEMBLE in objectives:
        # They would compare the scores of stopped trials with what finished ones add to the ensemble.
        raise InputError(f"--sampler {name} cannot search for what trials add to the ensemble. Pass tpe or random.")
    if name not in ("cmaes", "gp"):
        return []
    tried = _tried(space)
    names = dict.fromkeys(parameter for point in tried for parameter in point)
    searched = [parameter for parameter in names if _searched(name, [point.get(parameter) for point in tried])]
    if not searched:
        kind = "number" if name == "cmaes" else "parameter"
        raise InputError(f"--sampler {name}: {space.path} has no {kind} that every trial has. Pass --sampler tpe.")
    others = [parameter for parameter in names if parameter not in searched]
    why = "choices, or not in every trial" if name == "cmaes" else "not in every trial"
    return [f"Sampler {name}: drawn at random are {', '.join(others)} ({why})."] if others else []


def _searched(name: str, kinds: Sequence[BaseDistribution | None]) -> bool:
    """Whether a sampler learns from a parameter, of which each tried point has a distribution or none."""
    if kinds[0] is None or kinds.count(kinds[0]) < len(kinds):
        return False
    return name != "cmaes" or isinstance(kinds[0], NumericDistribution)


def _tried(space: Space) -> list[Mapping[str, BaseDistribution]]:
    """Return the distributions of a space's parameters at random points, without those that have a single value."""
    study, found = optuna.create_study(sampler=RandomSampler(seed=0)), []
    for _ in range(RANDOM_POINTS):
        with contextlib.suppress(optuna.TrialPruned):
            trial = study.ask()
            suggest_config(space, trial)
            found.append({name: kind for name, kind in trial.distributions.items() if not kind.single()})
    return found


def _gains(trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """Return what finished trials have gained on average between each round and their end; nothing with no rounds."""
    gained = defaultdict(list)
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            for judged, value in trial.intermediate_values.items():
                gained[judged].append(trial.values[0] - value)
    return {judged: statistics.fmean(found) for judged, found in gained.items()}


def _values(trial: FrozenTrial, gains: Mapping[int, float] | None) -> Sequence[float] | None:
    """Return what a trial is worth: if it was stopped, its last value and the gain of those that went on.

    With several objectives the last values stand for themselves: Optuna knows no others of them.

    Args:
        gains: by round; None if stopped trials are not to be compared with finished ones.
    """
    if trial.state == TrialState.COMPLETE:
        return trial.values
    if trial.state != TrialState.PRUNED or gains is None:
        return None
    if trial.value is not None:
        return [trial.value + gains.get(trial.last_step or 0, 0.0)]
    return trial.user_attrs.get(STOPPED)


def _as_finished(trial: FrozenTrial, values: Sequence[float] | None) -> FrozenTrial:
    """Return a trial as if it had finished with these values; as it is, if there are none."""
    if trial.state != TrialState.PRUNED or not values:
        return trial
    finished = copy.copy(trial)
    finished.state, finished.values = TrialState.COMPLETE, values
    return finished


def _good(values: Mapping[int, Sequence[float]], directions: Sequence[StudyDirection]) -> list[int]:
    """Return the numbers of trials that a sampler must not miss: those worth most, or on the Pareto front."""
    signs = [1 if direction == StudyDirection.MAXIMIZE else -1 for direction in directions]
    numbers = np.array(list(values), dtype=int)
    worth = np.array(list(values.values())).reshape(len(numbers), len(signs)) * signs
    if len(signs) == 1:
        return numbers[(-worth[:, 0]).argsort(kind="stable")[:MAX_GOOD_TRIALS]].tolist()
    return numbers[pareto_front(worth)].tolist()
