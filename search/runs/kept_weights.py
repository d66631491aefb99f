"""Delete the weights of ended trials on the disk, except those of the run's best rounds."""

from collections.abc import Iterable
from dataclasses import replace

from optuna.trial import TrialState

from search.runs.objectives import ENSEMBLE
from search.runs.run import Run
from search.runs.trial_record import Trial, clear_ended_trial
from trainers.training.rounds import RoundRow
from trainers.trial import CHECKPOINTS, round_name


class KeptWeights:
    """The rounds of ended trials whose weights are kept for an ensemble."""

    def __init__(self, run: Run, ended: Iterable[Trial]):
        """Find the weights that ended trials have left; delete those of rounds that are not among the best."""
        self.run = run
        self.rows: dict[tuple[int, int], RoundRow] = {}
        """(trial, round) -> row."""
        for trial in ended:
            self.rows |= self._saved(trial)
        self._prune()

    def clean_up(self, trial: Trial) -> None:
        """Delete an ended trial's files that are no longer needed, and weights that are no longer among the best."""
        clear_ended_trial(trial.folder)
        self.rows |= self._saved(trial)
        self._prune()

    def _saved(self, trial: Trial) -> dict[tuple[int, int], RoundRow]:
        """Return (trial, round) -> row of the rounds whose weights are on the disk."""
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
        return {(trial.number, row.round): row for row in rows if round_name(row.round) in names}

    def _prune(self) -> None:
        """Delete the weights of rounds that are not among the best."""
        for number, round in self.rows.keys() - self.run.keep.best(self.rows):
            (self.run.trial_folder(number) / CHECKPOINTS).delete(round_name(round))
            del self.rows[number, round]
