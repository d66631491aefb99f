"""Record what a searcher reports in a test, and report errors of trials to it, as Tune does."""

from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from search.tune.trials.failures import described


@dataclass
class RecordingListener:
    """What a searcher has reported."""

    error: BaseException = field(default_factory=lambda: described(ValueError("no")))
    """The error of every trial that fails."""
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def ended(self, number: int, state: TrialState, reason: str) -> None:
        self.events.append((number, state.name, reason))

    def continued(self, number: int, stopped: int) -> None:
        self.events.append((number, "continues", stopped))

    def paused(self, number: int, reason: str, seconds: float) -> None:
        self.events.append((number, reason, seconds))

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of a `StudySearcher`."""
        return {"listener": self, "error_of": lambda trial_id: self.error}
