"""CMA-ES as an Optuna sampler that stores nothing except the study's trials."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from cmaes import CMA
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.suggest.distributions import NumericDistribution, unit_position, value_at_position

INITIAL_SIGMA = 1 / 6
"""Standard deviation of the first draws, as a share of each parameter's range; the same as in Optuna."""


class StatelessCmaEsSampler(BaseSampler):
    """CMA-ES on the numerical parameters that all finished trials have; other parameters are drawn at random.

    Each draw rebuilds the optimiser's state: it passes the finished trials to CMA-ES in the order of their end, one
    population after another, whichever sampler drew them. Optuna's own CMA-ES stores a pickle in the study, which the
    project does not read, and ignores trials that another sampler drew.

    Source: Hansen 2016 (The CMA Evolution Strategy: A Tutorial); for trials drawn by other samplers, Hansen 2011
    (Injecting External Solutions Into CMA-ES).
    """

    def __init__(self, seed: int):
        """Set the seed of all draws."""
        self.seed, self.random = seed, RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the numerical parameters that all finished trials have."""
        found = IntersectionSearchSpace().calculate(study)
        return {
            name: distribution
            for name, distribution in found.items()
            if isinstance(distribution, NumericDistribution) and not distribution.single()
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw from the state that CMA-ES reaches after all full populations of finished trials."""
        space = {name: found for name, found in search_space.items() if isinstance(found, NumericDistribution)}
        if not space:
            return {}
        sides = len(space)
        search = CMA(
            mean=np.full(sides, 0.5), sigma=INITIAL_SIGMA, bounds=np.array([[0.0, 1.0]] * sides), seed=self.seed
        )
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ended.sort(key=lambda known: (known.datetime_complete or datetime.max, known.number))
        for start in range(0, len(ended) - search.population_size + 1, search.population_size):
            population = ended[start : start + search.population_size]
            search.tell([(_unit_point(known, space), sign * (known.value or 0.0)) for known in population])
        positions = zip(space.items(), search.ask().tolist(), strict=True)
        return {name: value_at_position(distribution, position) for (name, distribution), position in positions}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one of the other parameters at random."""
        return self.random.sample_independent(study, trial, param_name, param_distribution)


def _unit_point(trial: FrozenTrial, space: Mapping[str, NumericDistribution]) -> np.ndarray:
    """Return a trial's point in the unit cube, [parameters]."""
    return np.array([unit_position(distribution, trial.params[name]) for name, distribution in space.items()])
