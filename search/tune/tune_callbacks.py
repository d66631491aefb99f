"""Tune's callbacks: leave Tune on a signal, and remember the errors of its trials."""

import pickle
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.error import TuneError

from search.runs.arrivals import Arrivals
from search.tune.trials.results import row_of
from trainers.interruption import leave_if_received


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


class LeaveOnSignal(tune.Callback):
    """Leave Tune between two of its steps, of which it makes about ten per second.

    Tune may swallow an exception that a signal handler raises inside a step, or report it as an error of a trial.
    """

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Leave Tune if a signal has been received."""
        leave_if_received()


class TrialErrors(tune.Callback):
    """The errors of trials: Tune tells a searcher that a trial has failed, but not why."""

    def __init__(self) -> None:
        """Start without trials."""
        self.trials: list[Any] = []

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Keep Tune's own list of trials."""
        self.trials = trials

    def of(self, trial_id: str) -> BaseException:
        """Return the error of a trial. Tune has written it a moment ago, to a directory of this session."""
        trial = next(trial for trial in reversed(self.trials) if trial.trial_id == trial_id)
        try:
            return pickle.loads(Path(trial.pickled_error_file).read_bytes())
        except Exception:  # no file, or an error that cannot be restored: its text is left
            return TuneError(Path(trial.error_file).read_text() if trial.error_file else "unknown")
