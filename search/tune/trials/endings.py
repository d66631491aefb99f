"""Return the state in which a trial has ended, and the reason."""

from typing import Protocol

from optuna.trial import TrialState

from trainers.training.rounds import RoundRow


class TrialListener(Protocol):
    """Receives the ends and failures of trials."""

    def ended(self, number: int, state: TrialState, reason: str) -> None:
        """Receive the end of a trial.

        Args:
            reason: the reason in the trial's `trial.json`.
        """
        ...

    def continued(self, number: int, stopped: int) -> None:
        """Receive the number under which a stopped trial continues, before its end.

        Args:
            stopped: the number under which early stopping has stopped it.
        """
        ...

    def paused(self, number: int, reason: str, seconds: float) -> None:
        """Receive the failure of a trial that waits and is trained again.

        Args:
            seconds: the time that it waits; infinity if that depends on other trials.
        """
        ...


def ending_state(row: RoundRow | None, *, stopped: TrialState = TrialState.PRUNED, spent: bool = False) -> TrialState:
    """Return the state of a trial that Tune has ended; RUNNING means that it is unfinished: a resume continues it.

    Args:
        row: the row of the trial's last round; None if Tune reports none.
        stopped: the state of a trial that Tune stopped before its last round.
        spent: whether a budget of the search is used up, so that no trial continues. If early stopping stopped the
            trial at the same moment, it stops the trial again at the resume, when the last round is reported again.
    """
    if not row:
        return TrialState.RUNNING
    if not row.finite:
        return TrialState.FAIL
    if row.last:
        return TrialState.COMPLETE
    return TrialState.RUNNING if spent else stopped


def ending_reason(state: TrialState, rows: list[RoundRow]) -> str:
    """Return the reason that `trial.json` gives for the end of a trial that has finished rounds."""
    if state == TrialState.FAIL:
        return f"loss or weights were not finite in round {rows[-1].round}"
    if state == TrialState.COMPLETE:
        return "finished"
    return f"stopped early after round {rows[-1].round}"
