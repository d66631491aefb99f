"""Tune's callbacks: reset a trial's failures after a new round, count ended trials, leave Tune on a signal."""

from typing import Any

from ray import tune

from search.runs.arrivals import Arrivals
from search.tune.budgets import Budget
from search.tune.trials.results import row_of
from trainers.interruption import leave_if_received
from trainers.training.rounds import RoundRow


class ResetFailures(tune.Callback):
    """Reset a trial's count of failures after each new round, so that lost nodes do not make a long trial fail."""

    def __init__(self) -> None:
        """Start without rounds."""
        self.rounds: dict[int, int] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Reset the count if the round is new; a round that is reported again after a failure is not."""
        number, row = trial.config["number"], row_of(result)
        if row.round > self.rounds.get(number, 0):
            self.rounds[number] = row.round
            trial.run_metadata.num_failures = 0


class RecordArrivals(tune.Callback):
    """Record the order in which rounds arrive."""

    def __init__(self, arrivals: Arrivals):
        """Continue the order of earlier sessions."""
        self.arrivals = arrivals

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record a round; a round that is reported again is recorded once."""
        self.arrivals.add(trial.config["number"], row_of(result).round)


class CountEndedTrials(tune.Callback):
    """Report ended trials to the budget."""

    def __init__(self, budget: Budget, population: bool):
        """Start counting.

        Args:
            population: whether the trials are a population, whose stopped trials are only paused.
        """
        self.budget, self.population = budget, population

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a trial that finished or was stopped."""
        if not is_paused(row_of(trial.last_result), self.budget, population=self.population):
            self.budget.add_ended(trial.config["number"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a trial that failed."""
        self.budget.add_ended(trial.config["number"])


class LeaveOnSignal(tune.Callback):
    """Leave Tune between two of its steps, of which it makes about ten per second.

    Tune may swallow an exception that a signal handler raises inside a step, or report it as an error of a trial.
    """

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Leave Tune if a signal has been received."""
        leave_if_received()


def is_paused(row: RoundRow, budget: Budget, *, population: bool) -> bool:
    """Return whether a trial that Tune stopped after this round has not ended: it is resumed, or its clone replaces it.

    Args:
        budget: if it is used up, it has cut the trial.
        population: whether the trials are a population.
    """
    return not row.final and (population or budget.reason is not None)
