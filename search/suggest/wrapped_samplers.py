"""Optuna samplers that wrap another sampler and change the trials that it sees or the values that it draws."""

from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from search.suggest.optuna_internals import StudyView

RANDOM_REDRAWS = 10
"""Random draws to try before a repetition is accepted: with few choices, all of them may have been trained."""


class HistorySampler(BaseSampler):
    """Let a sampler draw from a chosen history instead of the study's trials."""

    def __init__(self, sampler: BaseSampler, history: Callable[[optuna.Study], list[FrozenTrial]]):
        """Wrap a sampler.

        Args:
            history: returns the trials that the sampler sees, sorted by number.
        """
        self.sampler, self.history = sampler, history

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Choose the history, once per trial, and return the parameters that the sampler draws together."""
        self.view = StudyView(study, self.history(study))
        return self.sampler.infer_relative_search_space(self.view, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Let the sampler draw the parameters of the search space together."""
        return self.sampler.sample_relative(self.view, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Let the sampler draw one parameter."""
        return self.sampler.sample_independent(self.view, trial, param_name, param_distribution)


class DeduplicatingSampler(BaseSampler):
    """Let a sampler draw again if an earlier trial has the same parameters: equal configs train to equal bits.

    In a space of choices and integers a sampler returns to the best known points. Drawing again keeps it searching.
    """

    def __init__(self, sampler: BaseSampler, seed: int, redraws: int = 0):
        """Wrap a sampler.

        Args:
            redraws: number of further draws by the sampler itself, before random draws.
        """
        self.sampler, self.redraws, self.random = sampler, redraws, RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that the sampler draws together."""
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Let the sampler draw parameters together until no earlier trial of the study has them."""
        drawn = self.sampler.sample_relative(study, trial, search_space)
        if not drawn:
            return drawn
        # Warm-start trials, with numbers below 0, do not count: their search may have had other data.
        earlier = [other for other in study.get_trials(deepcopy=False) if 0 <= other.number < trial.number]
        for draw in range(self.redraws + RANDOM_REDRAWS):
            if not any(_has_parameters(other, drawn) for other in earlier):
                break
            if draw < self.redraws:
                drawn = self.sampler.sample_relative(study, trial, search_space)
            else:
                drawn = {
                    name: self.random.sample_independent(study, trial, name, distribution)
                    for name, distribution in search_space.items()
                }
        return drawn

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Let the sampler draw one parameter."""
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)


def _has_parameters(trial: FrozenTrial, drawn: dict[str, Any]) -> bool:
    """Return whether a trial has the drawn parameters and no others.

    A parameter that the trial lacks belongs to a branch of the space that the trial did not take. Parameters with one
    possible value are ignored: Optuna does not pass them to samplers.
    """
    params = trial.params
    return (
        bool(params)
        and all(params.get(name, value) == value for name, value in drawn.items())
        and all(name in drawn or trial.distributions[name].single() for name in params)
    )
