"""Tune's callbacks: forgive failures after a new round, count ended trials, leave on a signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from search.tune.budgets import Budget
from search.tune.progress import comes_back


class Forgive(tune.Callback):
    """Count a trial's failures from its last new round on: lost nodes do not use a trial up."""

    def __init__(self) -> None:
        """Start without rounds."""
        self.rounds: dict[int, int] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Forget earlier failures when a round is new; one that is told again after a failure is not."""
        number = trial.config["number"]
        if result["round"] > self.rounds.get(number, 0):
            self.rounds[number] = result["round"]
            trial.run_metadata.num_failures = 0


class Endings(tune.Callback):
    """Tell the budget of trials that have ended."""

    def __init__(self, budget: Budget, turns: bool):
        """Take what counts them, and whether trials take turns, so that one that is stopped comes back."""
        self.budget, self.turns = budget, turns

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a trial that finished or was stopped."""
        if not (self.turns and comes_back(trial.last_result)):
            self.budget.end(trial.config["number"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a trial that was given up."""
        self.budget.end(trial.config["number"])


class Interruption(tune.Callback):
    """Leave Tune between two of its steps, of which it makes about ten a second.

    An exception that a signal throws into the middle of one may be swallowed, or be told as somebody's bug.
    """

    def __init__(self) -> None:
        """Start without a signal."""
        self.asked = False

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Leave, if a signal has come."""
        self.leave()

    def leave(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM, in place of what they would do."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True
