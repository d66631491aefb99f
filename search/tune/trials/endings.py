"""Return the state in which a trial has ended, and the reason."""

from optuna.trial import TrialState

from search.runs.trial_record import Trial
from trainers.training.rounds import RoundRow
from trainers.trial import ERROR

FAILURES = 3
"""A trial fails after this many failures without a finished round between them."""


def ending_state(
    row: RoundRow | None, *, error: bool, stopped: TrialState = TrialState.PRUNED, spent: bool = False
) -> TrialState:
    """Return the state of a trial that Tune has ended; RUNNING means that it is unfinished: a resume continues it.

    Args:
        row: the row of the trial's last round; None if Tune reports none.
        error: whether the trial failed.
        stopped: the state of a trial that Tune stopped before its last round.
        spent: whether a budget of the search is used up, so that no trial continues. If early stopping stopped the
            trial at the same moment, it stops the trial again at the resume, when the last round is reported again.
    """
    if error or (row and not row.finite):
        return TrialState.FAIL
    if not row:
        return TrialState.RUNNING
    if row.last:
        return TrialState.COMPLETE
    return TrialState.RUNNING if spent else stopped


def ending_reason(state: TrialState, trial: Trial, *, error: bool) -> str:
    """Return the reason that `trial.json` gives for the end of a trial.

    Args:
        error: whether the trial failed.
    """
    if error:
        text = trial.folder.read(ERROR).decode() if trial.folder.exists(ERROR) else ""
        lost = f"its worker was lost {FAILURES} times without a finished round"
        return text.strip().splitlines()[-1] if text else lost
    if state == TrialState.FAIL:
        return f"loss or weights were not finite in round {trial.rows[-1].round}"
    if state == TrialState.COMPLETE:
        return "finished"
    return f"stopped early after round {trial.rows[-1].round}"
