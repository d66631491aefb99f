"""Optuna samplers by name, each shown the history that it can use: not too long, and with stopped trials in it."""

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from model.errors import InputError
from search.evolution import CmaEs, Numeric
from search.objectives import ENSEMBLE, undominated
from search.runs import STOPPED
from search.shown import Shown
from search.space import TRIED, Space, call

TPE_HISTORY = 1000
"""Ended trials that TPE is shown: its time grows with them (5,000 cost .2 to .9 s), what it learns hardly does."""
GP_HISTORY = 200
"""Ended trials that a Gaussian process is shown: its time grows with their cube. Of 12 parameters it takes seconds."""
GOOD = 25
"""The most trials that TPE takes for good ones."""


def history(study: optuna.Study, limit: int | None, *, stopped: bool) -> list[FrozenTrial]:
    """Return the trials that a sampler is shown.

    Args:
        limit: the most ended ones; None for all.
        stopped: whether it would ignore stopped ones, as all do with several objectives. Early stopping stops most, so
            it would learn from few.
    """
    trials = study.get_trials(deepcopy=False)
    if stopped or len(study.directions) > 1:
        trials = [_as_finished(trial) for trial in trials]
    return bounded(trials, study.directions, limit) if limit else trials


def bounded(trials: list[FrozenTrial], directions: Sequence[StudyDirection], limit: int) -> list[FrozenTrial]:
    """Leave out ended trials until `limit` are left: the good ones, the newest, and of the others every so many-th.

    A function of the trials alone, so that a resumed search draws what the uninterrupted one would have.
    """
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(ended) <= limit:
        return trials
    kept = {trial.number for trial in _good(ended, directions)[: limit // 4]}
    kept |= {trial.number for trial in ended[-limit // 4 :]}
    others = [trial.number for trial in ended if trial.number not in kept]
    kept |= {others[int(place)] for place in np.linspace(0, len(others) - 1, limit - len(kept))}
    return [trial for trial in trials if trial.number in kept or not trial.state.is_finished()]


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        # `group`, for the parameters that not every trial has, is still marked experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, group=True, multivariate=True)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, warn_independent_sampling=False)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: Shown(_tpe(seed), partial(history, limit=TPE_HISTORY, stopped=False)),
    "gp": lambda seed: Shown(_gp(seed), partial(history, limit=GP_HISTORY, stopped=True)),
    "cmaes": lambda seed: Shown(CmaEs(seed), partial(history, limit=None, stopped=True)),
    "random": lambda seed: RandomSampler(seed=seed),
}
"""Seed -> a sampler for one trial."""


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
    return name != "cmaes" or isinstance(kinds[0], Numeric)


def _tried(space: Space) -> list[Mapping[str, BaseDistribution]]:
    """Return the distributions of a space's parameters at random points, without those that have a single value."""
    study, found = optuna.create_study(sampler=RandomSampler(seed=0)), []
    for _ in range(TRIED):
        with contextlib.suppress(optuna.TrialPruned):
            trial = study.ask()
            call(space, trial)
            found.append({name: kind for name, kind in trial.distributions.items() if not kind.single()})
    return found


def _as_finished(trial: FrozenTrial) -> FrozenTrial:
    """Return a stopped trial as one that finished with the last values it had reached.

    They are lower than what it would have reached, and so is its chance to be worth more: others were ahead of it.
    """
    values = trial.values or trial.user_attrs.get(STOPPED)
    if trial.state != TrialState.PRUNED or not values:
        return trial
    finished = copy.copy(trial)
    finished.state, finished.values = TrialState.COMPLETE, values
    return finished


def _good(ended: list[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Return the trials that a sampler must not miss: as TPE ranks them, or those on the Pareto front."""
    signs = [1 if direction == StudyDirection.MAXIMIZE else -1 for direction in directions]
    if len(signs) == 1:
        return sorted(ended, key=lambda trial: _rank(trial, signs[0]))[:GOOD]
    finished = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    values = np.array([trial.values for trial in finished]).reshape(len(finished), len(signs)) * signs
    return [trial for trial, good in zip(finished, undominated(values), strict=True) if good]


def _rank(trial: FrozenTrial, sign: int) -> tuple[bool, int, float]:
    """Return where a trial stands, the best lowest: finished ones, then those that were stopped later."""
    stopped = trial.state == TrialState.PRUNED
    steps = trial.last_step or 0 if stopped else 0
    return stopped, -steps, -sign * trial.value if trial.value is not None else math.inf
