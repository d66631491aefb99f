"""Rebuild an Optuna study from the trials' files, and a damaged `trial.json` from the study."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from model.errors import InputError
from search.runs.objectives import round_values, study_directions
from search.runs.run import Run
from search.runs.trial_record import CLONE, STOPPED_VALUES, TRIAL, Trial, end_trial, read_trial, start_trial
from trainers.folder import Folder
from trainers.training.rounds import RoundRow

LOST = "set aside: its trial.json was damaged, and the study does not have the trial"


def rebuild_study(run: Run, study: optuna.Study | None = None) -> optuna.Study:
    """Add the trials of a run's files that a study lacks. By default, the study is a new one in memory."""
    study = study or optuna.create_study(directions=study_directions(run.objectives))
    known = len(study.get_trials(deepcopy=False))
    for trial in run.trials():
        if trial.number < known:
            continue
        for _ in range(known, trial.number):
            # The number belonged to a waiting trial that has no files yet. The next `ask` takes it.
            study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
        study.add_trial(_frozen(trial, run.objectives))
        known = trial.number + 1
    return study


def intermediate_values(rows: Sequence[RoundRow], names: Sequence[str]) -> dict[int, float]:
    """Return count of judged rounds -> value; empty for several objectives, for which Optuna accepts no values."""
    found = {row.judged: round_values(row, names) for row in rows if row.judged is not None}
    return {judged: values[0] for judged, values in found.items() if values} if len(names) == 1 else {}


def end_attributes(state: TrialState, values: list[float] | None, *, several: bool) -> dict[str, Any]:
    """Return user attributes for an ended trial of a study.

    With several objectives Optuna stores no values of a stopped trial, so an attribute holds them.
    """
    return {STOPPED_VALUES: values} if several and state == TrialState.PRUNED and values else {}


def _frozen(trial: Trial, names: Sequence[str]) -> optuna.trial.FrozenTrial:
    """Convert a trial of the run directory to a trial of a study."""
    state = TrialState[trial.state]
    attributes = end_attributes(state, trial.values, several=len(names) > 1)
    return optuna.trial.create_trial(
        state=state,
        values=None if attributes else trial.values,
        params=trial.params,
        distributions=trial.optuna_distributions,
        user_attrs=attributes | ({CLONE: asdict(trial.clone)} if trial.clone else {}),
        intermediate_values=intermediate_values(trial.rows, names),
    )


def repair_trials(run: Run, study: optuna.Study) -> None:
    """Rebuild damaged `trial.json` files; a damaged file stays beside the new one. The run must be locked.

    A trial that the study does not have fails: its parameters are lost, so it can be neither continued nor used.
    """
    known = study.get_trials(deepcopy=False)
    for folder in run.trial_folders():
        try:
            read_trial(folder)
        except InputError as error:
            number = int(folder.name)
            kept = folder.set_aside(TRIAL)
            _rebuild(folder, number, known[number] if number < len(known) else None)
            run.note(f"Trial {number}: {error} The damaged file is now {kept}.")


def _rebuild(folder: Folder, number: int, frozen: FrozenTrial | None) -> None:
    if frozen is None:
        frozen = optuna.trial.create_trial(state=TrialState.RUNNING)
        frozen.number = number
        start_trial(folder, frozen, None)
        end_trial(folder, TrialState.FAIL, None, LOST)
        return
    start_trial(folder, frozen, None)
    if frozen.state.is_finished():
        values = None if frozen.state == TrialState.FAIL else frozen.user_attrs.get(STOPPED_VALUES) or frozen.values
        end_trial(folder, frozen.state, values, "rebuilt from the study after its trial.json was damaged")
