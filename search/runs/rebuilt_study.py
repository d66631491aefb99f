"""Rebuild an Optuna study from the trials' files."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.trial import TrialState

from search.runs.objectives import directions, round_values
from search.runs.run import Run
from search.runs.trial_record import CLONE, STOPPED, Trial
from trainers.training.rounds import RoundRow


def rebuild_study(run: Run, study: optuna.Study | None = None) -> optuna.Study:
    """Add to a study, a new one in memory by default, the trials that the run's files tell of and it lacks."""
    study = study or optuna.create_study(directions=directions(run.objectives))
    known = len(study.get_trials(deepcopy=False))
    for trial in run.trials():
        if trial.number < known:
            continue
        for _ in range(known, trial.number):
            # A number that was given to a waiting point, of which no file tells: the next `ask` takes it.
            study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
        study.add_trial(_frozen(trial, run.objectives))
        known = trial.number + 1
    return study


def reported(rows: Sequence[RoundRow], names: Sequence[str]) -> dict[int, float]:
    """Return count of judged rounds -> value, which the study knows of a trial; it takes none of several objectives."""
    found = {row.judged: round_values(row, names) for row in rows if row.judged is not None}
    return {judged: values[0] for judged, values in found.items() if values} if len(names) == 1 else {}


def stopped_attributes(state: TrialState, values: list[float] | None, *, several: bool) -> dict[str, Any]:
    """Return the attributes of an ended trial: of several objectives Optuna has no place for a stopped one's values."""
    return {STOPPED: values} if several and state == TrialState.PRUNED and values else {}


def _frozen(trial: Trial, names: Sequence[str]) -> optuna.trial.FrozenTrial:
    """Return what the study knows of a trial."""
    state = TrialState[trial.state]
    attributes = stopped_attributes(state, trial.values, several=len(names) > 1)
    return optuna.trial.create_trial(
        state=state,
        values=None if attributes else trial.values,
        params=trial.params,
        distributions=trial.kinds,
        user_attrs=attributes | ({CLONE: asdict(trial.clone)} if trial.clone else {}),
        intermediate_values=reported(trial.rows, names),
    )
