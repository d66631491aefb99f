"""Optuna samplers that wrap another sampler and change the trials that it sees or the values that it draws."""

from collections.abc import Callable, Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState


class HistorySampler(BaseSampler):
    """Let a sampler draw as if some trials were the study's."""

    def __init__(self, sampler: BaseSampler, choose: Callable[[optuna.Study], list[FrozenTrial]]):
        """Wrap a sampler.

        Args:
            choose: study -> the trials to show, by number.
        """
        self.sampler, self.choose = sampler, choose

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Choose the trials, once for each draw, and ask the sampler which parameters it draws together."""
        self.view = _View(study, self.choose(study))
        return self.sampler.infer_relative_search_space(self.view, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the sampler for parameters that are drawn together."""
        return self.sampler.sample_relative(self.view, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the sampler for one parameter."""
        return self.sampler.sample_independent(self.view, trial, param_name, param_distribution)


class _View(optuna.Study):
    """A study that shows some trials; what a sampler notes of the one that it draws is written to the study itself."""

    def __init__(self, study: optuna.Study, trials: list[FrozenTrial]):
        super().__init__(study.study_name, study._storage, study.sampler)
        self.shown = trials

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self.shown if states is None or trial.state in states]


CHANCES = 10
"""Draws at random that are tried before a repetition is let through: of few choices all may have been tried."""


class DeduplicatingSampler(BaseSampler):
    """Let a sampler draw again what an earlier trial has trained: a config trains to the same bits every time.

    Where all parameters are choices or whole numbers, a sampler comes back to what it believes in; the draws that
    replace it keep a search from ending in what it knows.
    """

    def __init__(self, sampler: BaseSampler, seed: int, redraws: int = 0):
        """Wrap a sampler.

        Args:
            redraws: how often the sampler itself may draw again, before chance does.
        """
        self.sampler, self.redraws, self.random = sampler, redraws, RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask the sampler which parameters it draws together."""
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the sampler for parameters that are drawn together, until no earlier trial of the study has them."""
        drawn = self.sampler.sample_relative(study, trial, search_space)
        if not drawn:
            return drawn
        # Those of numbers below 0 were trained elsewhere, perhaps on other data.
        earlier = [other for other in study.get_trials(deepcopy=False) if 0 <= other.number < trial.number]
        for draw in range(self.redraws + CHANCES):
            if not any(_has(other, drawn) for other in earlier):
                break
            if draw < self.redraws:
                drawn = self.sampler.sample_relative(study, trial, search_space)
            else:
                drawn = {name: self._chance(study, trial, name, kind) for name, kind in search_space.items()}
        return drawn

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the sampler for one parameter."""
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)

    def _chance(self, study: optuna.Study, trial: FrozenTrial, name: str, kind: BaseDistribution) -> Any:
        return self.random.sample_independent(study, trial, name, kind)


def _has(trial: FrozenTrial, drawn: dict[str, Any]) -> bool:
    """Whether a trial has the parameters that are drawn.

    What it has not drawn does not exist where it is: a branch that its parameters do not take. Of parameters with a
    single value samplers are not told.
    """
    params = trial.params
    return (
        bool(params)
        and all(params.get(name, value) == value for name, value in drawn.items())
        and all(name in drawn or trial.distributions[name].single() for name in params)
    )
