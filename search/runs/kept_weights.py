"""Weights of ended trials on the disk: those of the run's best rounds stay, all else goes."""

from collections.abc import Iterable
from dataclasses import replace

from optuna.trial import TrialState

from search.runs.objectives import ENSEMBLE
from search.runs.run import Run
from search.runs.trial_record import Trial, clear_trial
from trainers.training.checkpoint import best_rounds
from trainers.training.rounds import RoundRow
from trainers.trial import CHECKPOINTS, round_name


class KeptWeights:
    """The rounds of a run's ended trials whose weights an ensemble may want."""

    def __init__(self, run: Run, ended: Iterable[Trial]):
        """Take over what ended trials have left, but for what is no longer among the best."""
        self.run = run
        self.rows: dict[tuple[int, int], RoundRow] = {}
        """(trial, round) -> row."""
        for trial in ended:
            self.rows |= self._saved(trial)
        self._prune()

    def tidy(self, trial: Trial) -> None:
        """Delete what an ended trial has on the disk that nobody needs, and of all trials what it has outdone."""
        clear_trial(trial.folder)
        self.rows |= self._saved(trial)
        self._prune()

    def _saved(self, trial: Trial) -> dict[tuple[int, int], RoundRow]:
        rows = list(trial.rows)
        if self.run.objectives == [ENSEMBLE] and trial.state == TrialState.COMPLETE.name and trial.values:
            # What adds much to the ensemble need not be good by itself: without this its weights might go.
            best = trial.best_row
            rows[rows.index(best)] = replace(best, metrics=best.metrics | {ENSEMBLE: trial.values[0]})
        names = set((trial.folder / CHECKPOINTS).names())
        return {(trial.number, row.round): row for row in rows if round_name(row.round) in names}

    def _prune(self) -> None:
        keep = best_rounds(self.rows)
        for number, round in self.rows.keys() - keep:
            (self.run.trial_folder(number) / CHECKPOINTS).delete(round_name(round))
            del self.rows[number, round]
