"""CMA-ES as an Optuna sampler whose only state is the study's trials."""

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

SPREAD = 1 / 6
"""Standard deviation of the first draws, of a parameter's range; Optuna's own start."""


class StatelessCmaEsSampler(BaseSampler):
    """CMA-ES on the numbers that all trials have; all else is drawn at random.

    Its state is a function of the trials: they are told anew for each draw in the order in which they ended, one
    population after another, whoever suggested them. Optuna's own keeps a pickle in the study, which nobody may read
    back from a run, and learns nothing from points that it did not suggest.

    Source: Hansen 2016 (The CMA Evolution Strategy: A Tutorial); on points of others, Hansen 2011 (Injecting External
    Solutions Into CMA-ES).
    """

    def __init__(self, seed: int):
        """Take the seed of the draws."""
        self.seed, self.random = seed, RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Name the numbers that all finished trials have."""
        found = IntersectionSearchSpace().calculate(study)
        return {
            name: kind for name, kind in found.items() if isinstance(kind, NumericDistribution) and not kind.single()
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw from the population that follows those which have ended."""
        space = {name: kind for name, kind in search_space.items() if isinstance(kind, NumericDistribution)}
        if not space:
            return {}
        sides = len(space)
        search = CMA(mean=np.full(sides, 0.5), sigma=SPREAD, bounds=np.array([[0.0, 1.0]] * sides), seed=self.seed)
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ended.sort(key=lambda known: (known.datetime_complete or datetime.max, known.number))
        for start in range(0, len(ended) - search.population_size + 1, search.population_size):
            population = ended[start : start + search.population_size]
            search.tell([(_place(known, space), sign * (known.value or 0.0)) for known in population])
        return {
            name: value_at_position(kind, at)
            for (name, kind), at in zip(space.items(), search.ask().tolist(), strict=True)
        }

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw anything else at random."""
        return self.random.sample_independent(study, trial, param_name, param_distribution)


def _place(trial: FrozenTrial, space: Mapping[str, NumericDistribution]) -> np.ndarray:
    """Return where a trial lies in a cube of side 1, [parameters]."""
    return np.array([unit_position(kind, trial.params[name]) for name, kind in space.items()])
