"""Delete the checkpoints of ended trials, except weights of the run's best rounds and states of stopped trials."""

from collections.abc import Iterable
from dataclasses import replace

from optuna.trial import TrialState

from search.runs.objectives import ENSEMBLE, value_to_maximize
from search.runs.run import Run
from search.runs.trial_record import Trial, clear_ended_trial
from trainers.folder import Folder
from trainers.training.checkpoint import STATE
from trainers.training.rounds import RoundRow
from trainers.trial import CHECKPOINTS, round_name


class KeptCheckpoints:
    """The checkpoints of ended trials that are kept: rounds for an ensemble, and stopped trials that can continue.

    Both are functions of the ended trials, whenever they ended: what is deleted could not become one of the best.
    """

    def __init__(self, run: Run, ended: Iterable[Trial]):
        """Find the checkpoints that ended trials have left; delete those that are not among the best."""
        self.run = run
        self.rows: dict[tuple[int, int], RoundRow] = {}
        """(trial, round) -> row of the rounds whose weights are on the disk."""
        self.stopped: dict[int, RoundRow] = {}
        """Stopped trial -> row of its newest round, whose full state is on the disk."""
        for trial in ended:
            self._add(trial)
        self._prune()

    def clean_up(self, trial: Trial) -> None:
        """Delete an ended trial's files that are no longer needed, and checkpoints no longer among the best."""
        clear_ended_trial(trial.folder, newest=trial.state == TrialState.PRUNED.name)
        self._add(trial)
        self._prune()

    def _add(self, trial: Trial) -> None:
        """Add the checkpoints of an ended trial that are on the disk."""
        rows = list(trial.rows)
        if (
            self.run.objectives == [ENSEMBLE]
            and trial.state == TrialState.COMPLETE.name
            and trial.values
            and trial.scores
        ):
            # A trial that adds much to the ensemble may have low metrics: rank its best round by what it adds, too.
            best = trial.best_row
            rows[rows.index(best)] = replace(best, metrics=best.metrics | {ENSEMBLE: trial.values[0]})
        names = set((trial.folder / CHECKPOINTS).names())
        self.rows |= {(trial.number, row.round): row for row in rows if round_name(row.round) in names}
        if trial.state == TrialState.PRUNED.name and rows and self._place(trial.number, rows[-1]).exists(STATE):
            self.stopped[trial.number] = rows[-1]

    def _prune(self) -> None:
        """Delete the states of stopped trials, and the weights of rounds, that are not among the best."""
        for number in self.stopped.keys() - self._best_stopped():
            self._place(number, self.stopped.pop(number)).delete(STATE)
        needed = {(number, row.round) for number, row in self.stopped.items()}  # a state has no weights of its own
        for number, round in self.rows.keys() - self.run.keep.best(self.rows) - needed:
            (self.run.trial_folder(number) / CHECKPOINTS).delete(round_name(round))
            del self.rows[number, round]

    def _best_stopped(self) -> list[int]:
        """Return the stopped trials that keep their states: the best by their newest rounds; of equals, the earlier."""
        values = {number: value_to_maximize(row, self.run.objectives) for number, row in self.stopped.items()}
        known = {number: value for number, value in values.items() if value is not None}
        return sorted(known, key=lambda number: (-known[number], number))[: self.run.keep.states]

    def _place(self, number: int, row: RoundRow) -> Folder:
        return self.run.trial_folder(number) / CHECKPOINTS / round_name(row.round)
