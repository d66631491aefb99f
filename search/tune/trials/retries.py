"""Decide whether a trial that has failed is trained again, and when."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from trainers.faults import Blame, Fault

FAILURES = 3
"""A trial fails after this many failures that are blamed on its config, without a finished round between them."""
WAITS = (5.0, 15.0, 45.0)
"""Seconds before a trial is trained again after its first, second and third failure on account of the machine."""


class Verdict(Enum):
    """What becomes of a trial that waits after a failure."""

    WAIT = auto()
    RETRY = auto()
    FAIL = auto()
    """Other trials train meanwhile: the config is to blame."""
    END = auto()
    """Nothing trains any more: the search ends, and a resumed search continues the trial."""


@dataclass
class Streak:
    """The failures of a trial since its last finished round."""

    fault: Fault
    """The latest one."""
    rounds: int
    """Rounds that all trials had finished when the streak began; later ones are other trials'."""
    config: int = 0
    """Failures that are blamed on the config."""
    machine: int = 0
    """All other failures."""
    due: float = 0.0
    """When the trial is trained again; infinity if that depends on the other trials."""


class Retries:
    """Count the failures of a search's trials. A fault that other trials do not have is the trial's own."""

    def __init__(self, newest: Mapping[int, int], clock: Callable[[], float] = time.monotonic):
        """Start without failures.

        Args:
            newest: trial -> its newest finished round, of trials that have one.
            clock: returns the time in seconds.
        """
        self.clock, self.newest, self.rounds = clock, dict(newest), 0
        self.streaks: dict[int, Streak] = {}

    def add_round(self, number: int, round: int) -> None:
        """Count a finished round of a trial, which ends the trial's streak; a round that is reported again does not."""
        if round > self.newest.get(number, 0):
            self.newest[number] = round
            self.rounds += 1
            self.forget(number)

    def fails(self, number: int, fault: Fault) -> bool:
        """Count a failure of a trial; return whether the trial fails for good. If not, `verdict` says what follows."""
        streak = self.streaks.setdefault(number, Streak(fault, self.rounds))
        streak.fault, streak.due = fault, self.clock()
        if fault.blame == Blame.CONFIG:
            streak.config += 1
            return streak.config >= FAILURES
        streak.machine += 1
        streak.due += WAITS[streak.machine - 1] if streak.machine <= len(WAITS) else math.inf
        return False

    def wait(self, number: int) -> float:
        """Return the seconds until a trial is trained again; infinity if that depends on the other trials."""
        return max(0.0, self.streaks[number].due - self.clock())

    def verdict(self, number: int, *, training: bool, others: bool) -> Verdict:
        """Decide what becomes of a trial that waits.

        Args:
            training: whether any trial is being trained.
            others: whether a trial that does not wait can be begun or resumed.
        """
        streak = self.streaks[number]
        if streak.due < math.inf:
            return Verdict.RETRY if self.wait(number) == 0 else Verdict.WAIT
        if streak.fault.blame == Blame.MACHINE:
            return self._of_machine(number, training, others)
        if self.rounds > streak.rounds:
            return Verdict.FAIL
        if training:
            return Verdict.WAIT
        if any(other.due == math.inf for name, other in self.streaks.items() if name != number):
            return Verdict.END  # two trials in a row: it is not the config
        if others:
            return Verdict.WAIT  # they will show it
        return Verdict.FAIL if self.newest.keys() - {number} else Verdict.END

    def holds(self, number: int) -> bool:
        """Return whether a trial that waits keeps other trials from being begun: the machine may need a pause."""
        return self.streaks[number].due < math.inf

    def forget(self, number: int) -> None:
        """Forget the failures of a trial that has ended."""
        self.streaks.pop(number, None)

    def _of_machine(self, number: int, training: bool, others: bool) -> Verdict:
        """Decide what becomes of a trial whose files the machine could not write or read, over all its waits."""
        if training:
            return Verdict.WAIT
        if self.rounds == self.streaks[number].rounds:
            return Verdict.END
        if others:
            return Verdict.WAIT
        self.forget(number)  # other trials' files could be written meanwhile: it gets all its waits again
        return Verdict.RETRY
