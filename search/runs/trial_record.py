"""Read and write `trial.json`, the record of one trial in the run directory."""

from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import TrialState

from trainers.folder import Folder
from trainers.training.checkpoint import STATE
from trainers.training.rounds import RoundRow
from trainers.trial import CHECKPOINTS, CONFIG, clear_unfinished, read_rows

TRIAL = "trial.json"
FIELDS = ("number", "params", "distributions", "state", "values", "reason")
"""Fields of a `Trial` that `trial.json` holds as they are."""
RUNNING = TrialState.RUNNING.name
STOPPED = "stopped"
"""The study's attribute of a trial that was stopped, with several objectives: the values of its last round."""
CLONE = "clone"
"""The attribute, in the study and in `trial.json`, of a trial that is one."""


@dataclass(frozen=True)
class Clone:
    """Whose clone a trial is."""

    trial: int
    """The donor."""
    round: int
    """Of the donor; the clone's own rounds begin behind it."""
    examples: int
    """That the donor had been trained on by then."""
    replaced: int
    """The trial whose place the clone took."""


@dataclass(frozen=True)
class Trial:
    """One trial's files, read back."""

    folder: Folder
    number: int
    params: dict[str, Any]
    distributions: dict[str, str]
    """Name -> Optuna's JSON of the distribution."""
    state: str
    """RUNNING until it has ended, then COMPLETE, PRUNED or FAIL."""
    values: list[float] | None
    """Of each objective: those of its best round if it finished, of its last one if it was stopped."""
    reason: str | None
    rows: list[RoundRow]
    """Its finished rounds, in order; of a round that was trained twice the later row."""
    clone: Clone | None = None

    @property
    def kinds(self) -> dict[str, BaseDistribution]:
        """Name -> the distribution itself."""
        return {name: json_to_distribution(text) for name, text in self.distributions.items()}

    @property
    def judged(self) -> dict[int, float]:
        """Count of judged rounds -> score."""
        return {row.judged: row.score for row in self.rows if row.judged is not None and row.score is not None}

    @property
    def examples(self) -> int:
        """Training examples of its own rounds, of which there must be one."""
        return self.rows[-1].examples - (self.clone.examples if self.clone else 0)

    @property
    def best_row(self) -> RoundRow:
        """The row of its best judged round, the first of equals; there must be one."""
        return max((row for row in self.rows if row.score is not None), key=attrgetter("score"))


def clone_of(trial: optuna.trial.BaseTrial) -> Clone | None:
    """Return whose clone the study says a trial is."""
    return Clone(**trial.user_attrs[CLONE]) if CLONE in trial.user_attrs else None


def start_trial(folder: Folder, trial: optuna.trial.FrozenTrial, config: str | None) -> None:
    """Write the files of a trial that starts, before any worker does; a trial exists when its `trial.json` does.

    Args:
        config: the TrainConfig as JSON; None if the space returned none.
    """
    distributions = {name: distribution_to_json(found) for name, found in trial.distributions.items()}
    if config:
        folder.write(CONFIG, config)
    _write(Trial(folder, trial.number, trial.params, distributions, RUNNING, None, None, [], clone_of(trial)))


def end_trial(folder: Folder, state: TrialState, values: list[float] | None, reason: str) -> None:
    """Write the state, values and reason with which a trial has ended."""
    _write(replace(read_trial(folder), state=state.name, values=values, reason=reason))


def read_trial(folder: Folder) -> Trial:
    """Read a trial's `trial.json` and its rounds."""
    record = folder.read_json(TRIAL)
    clone = record.get(CLONE)
    fields = {name: record[name] for name in FIELDS}
    return Trial(folder=folder, rows=read_rows(folder), clone=Clone(**clone) if clone else None, **fields)


def _write(trial: Trial) -> None:
    """Write `trial.json`."""
    fields = {name: getattr(trial, name) for name in FIELDS}
    trial.folder.write_json(TRIAL, fields | {CLONE: asdict(trial.clone) if trial.clone else None})


def clear_trial(folder: Folder) -> None:
    """Delete the full states of a trial that nothing will resume, and what it did not finish."""
    for name in (folder / CHECKPOINTS).names():
        (folder / CHECKPOINTS / name).delete(STATE)
    clear_unfinished(folder, [row.round for row in read_rows(folder)])
