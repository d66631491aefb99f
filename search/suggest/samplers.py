"""The Optuna samplers, by name.

Each sees stopped trials with an estimated final value, and at most as many trials as it can handle.
"""

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
from search.runs.trial_record import STOPPED_VALUES
from search.suggest.cmaes_sampler import StatelessCmaEsSampler
from search.suggest.distributions import NumericDistribution
from search.suggest.space import RANDOM_POINTS, Space, suggest_config
from search.suggest.wrapped_samplers import DeduplicatingSampler, HistorySampler

TPE_HISTORY = 1000
"""Largest number of ended trials that TPE sees: 5,000 cost .2 to .9 s per draw and hardly improve the draws."""
GP_HISTORY = 200
"""Largest number of ended trials that a Gaussian process sees: its time grows with the cube of this number.

With 12 parameters a draw takes seconds.
"""
MAX_GOOD_TRIALS = 25
"""Largest number of trials that TPE counts as good."""
TPE_REDRAWS = 10
"""Further draws of TPE if its parameters were trained before; other samplers would repeat the same draw."""
STARTUP_TRIALS = 5
"""Number of ended trials, those of START included, before which TPE draws at random; Optuna's default is 10."""
EI_CANDIDATES = 8
"""Points from which TPE picks the most promising; Optuna's default, 24, explores less (`benchmarks/efficiency.py`)."""


def history(study: optuna.Study, limit: int | None, *, extrapolate: bool = True) -> list[FrozenTrial]:
    """Return the trials that a sampler sees: the study's trials, with stopped trials as if they had finished.

    Early stopping stops most trials. TPE ranks stopped trials behind all finished ones, although the first trials of a
    search finish however bad they are; the other samplers ignore stopped trials.

    Args:
        limit: the largest number of ended trials; None for all.
        extrapolate: whether to estimate the final values of stopped trials. If not, they stay stopped trials.
    """
    trials = study.get_trials(deepcopy=False)
    gains = mean_gains(trials) if extrapolate else None
    values = {trial.number: found for trial in trials if (found := final_values(trial, gains))}
    if limit:
        trials = _limit_ended(trials, values, study.directions, limit)
    return [_as_finished(trial, values.get(trial.number)) for trial in trials]


def _limit_ended(
    trials: list[FrozenTrial],
    values: Mapping[int, Sequence[float]],
    directions: Sequence[StudyDirection],
    limit: int,
) -> list[FrozenTrial]:
    """Keep `limit` ended trials: the best, the newest, and an even selection of the others. Keep all running trials.

    The result depends on the trials only, so a resumed search draws the same values as an uninterrupted search.

    Args:
        values: number of a trial -> its final values, estimated for a stopped trial.
    """
    ended = [trial.number for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(ended) <= limit:
        return trials
    kept = {*_best_numbers(values, directions)[: limit // 4], *ended[-limit // 4 :]}
    others = [number for number in ended if number not in kept]
    kept |= {others[int(place)] for place in np.linspace(0, len(others) - 1, limit - len(kept))}
    return [trial for trial in trials if trial.number in kept or not trial.state.is_finished()]


def _tpe(seed: int, extrapolate: bool = True) -> BaseSampler:
    with warnings.catch_warnings():
        # Optuna marks `group`, which handles parameters that only some trials have, as experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = TPESampler(
            seed=seed,
            group=True,
            multivariate=True,
            n_startup_trials=STARTUP_TRIALS,
            n_ei_candidates=EI_CANDIDATES,
        )
    return _with_history(sampler, seed, TPE_HISTORY, extrapolate, redraws=TPE_REDRAWS)


def _gp(seed: int, extrapolate: bool = True) -> BaseSampler:
    return _with_history(GPSampler(seed=seed, warn_independent_sampling=False), seed, GP_HISTORY, extrapolate)


def _cmaes(seed: int, extrapolate: bool = True) -> BaseSampler:
    return _with_history(StatelessCmaEsSampler(seed), seed, None, extrapolate)


def _with_history(
    sampler: BaseSampler, seed: int, limit: int | None, extrapolate: bool, redraws: int = 0
) -> BaseSampler:
    """Wrap a sampler, so that it sees `history` and does not repeat earlier parameters."""
    return DeduplicatingSampler(
        HistorySampler(sampler, partial(history, limit=limit, extrapolate=extrapolate)), seed, redraws
    )


def _random(seed: int, extrapolate: bool = True) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[..., BaseSampler]] = {"tpe": _tpe, "gp": _gp, "cmaes": _cmaes, "random": _random}
"""Name -> function that makes the sampler of one trial from a seed and `extrapolate`, an argument of `history`."""


def check_sampler(name: str, space: Space, objectives: Sequence[str]) -> list[str]:
    """Check that a sampler can search a space; return notes on the parameters that it draws at random.

    Args:
        objectives: names of the objectives.

    Raises:
        InputError: the sampler supports no parameter of the space, or not these objectives.
    """
    if name == "cmaes" and len(objectives) > 1:
        raise InputError(f"--sampler cmaes supports one objective, not {len(objectives)}. Pass tpe, gp or random.")
    if name in ("cmaes", "gp") and ENSEMBLE in objectives:
        # Stopped trials have a score, finished trials a contribution to the ensemble: the two do not compare.
        raise InputError(f"--sampler {name} does not support --objective ensemble. Pass tpe or random.")
    if name not in ("cmaes", "gp"):
        return []
    points = _example_distributions(space)
    names = dict.fromkeys(parameter for point in points for parameter in point)
    searched = [parameter for parameter in names if _searched(name, [point.get(parameter) for point in points])]
    if not searched:
        kind = "numerical parameter" if name == "cmaes" else "parameter"
        raise InputError(f"--sampler {name}: {space.path} has no {kind} that every trial has. Pass --sampler tpe.")
    others = [parameter for parameter in names if parameter not in searched]
    why = "choices, or absent from some trials" if name == "cmaes" else "absent from some trials"
    return [f"Sampler {name} draws these parameters at random: {', '.join(others)} ({why})."] if others else []


def _searched(name: str, distributions: Sequence[BaseDistribution | None]) -> bool:
    """Return whether a sampler searches a parameter, given its distribution at each point, None where it is absent."""
    if distributions[0] is None or distributions.count(distributions[0]) < len(distributions):
        return False
    return name != "cmaes" or isinstance(distributions[0], NumericDistribution)


def _example_distributions(space: Space) -> list[Mapping[str, BaseDistribution]]:
    """Return the distributions of a space's parameters at random points; parameters with one value are left out."""
    study, found = optuna.create_study(sampler=RandomSampler(seed=0)), []
    for _ in range(RANDOM_POINTS):
        with contextlib.suppress(optuna.TrialPruned):
            trial = study.ask()
            suggest_config(space, trial)
            drawn = trial.distributions.items()
            found.append({name: distribution for name, distribution in drawn if not distribution.single()})
    return found


def mean_gains(trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """Return judged round -> mean gain of the finished trials from this round to their end."""
    gained = defaultdict(list)
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            for judged, value in trial.intermediate_values.items():
                gained[judged].append(trial.values[0] - value)
    return {judged: statistics.fmean(found) for judged, found in gained.items()}


def final_values(trial: FrozenTrial, gains: Mapping[int, float] | None) -> Sequence[float] | None:
    """Return a trial's final values; for a stopped trial, its last value plus the mean gain from that round on.

    With several objectives no gain is added: Optuna stores no intermediate values.

    Args:
        gains: judged round -> mean gain; None if stopped trials get no estimate.
    """
    if trial.state == TrialState.COMPLETE:
        return trial.values
    if trial.state != TrialState.PRUNED or gains is None:
        return None
    if trial.value is not None:
        return [trial.value + gains.get(trial.last_step or 0, 0.0)]
    return trial.user_attrs.get(STOPPED_VALUES)


def _as_finished(trial: FrozenTrial, values: Sequence[float] | None) -> FrozenTrial:
    """Return a stopped trial as if it had finished with these values; any other trial unchanged."""
    if trial.state != TrialState.PRUNED or not values:
        return trial
    finished = copy.copy(trial)
    finished.state, finished.values = TrialState.COMPLETE, values
    return finished


def _best_numbers(values: Mapping[int, Sequence[float]], directions: Sequence[StudyDirection]) -> list[int]:
    """Return the numbers of the best trials; with several objectives, of the trials on the Pareto front."""
    signs = [1 if direction == StudyDirection.MAXIMIZE else -1 for direction in directions]
    numbers = np.array(list(values), dtype=int)
    maximized = np.array(list(values.values())).reshape(len(numbers), len(signs)) * signs
    if len(signs) == 1:
        return numbers[(-maximized[:, 0]).argsort(kind="stable")[:MAX_GOOD_TRIALS]].tolist()
    return numbers[pareto_front(maximized)].tolist()
