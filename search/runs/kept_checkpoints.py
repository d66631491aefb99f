"""Delete the checkpoints of ended trials, except weights of the run's best rounds and states of stopped trials."""

from collections.abc import Iterable
from dataclasses import replace

from optuna.trial import TrialState

from search.runs.objectives import ENSEMBLE, value_to_maximize
from search.runs.run import Run
from search.runs.search_record import Reproduction
from search.runs.trial_record import Trial, clear_ended_trial
from trainers.folder import Folder
from trainers.recipes.registry import configs, recipe
from trainers.recipes.systems import EnsembleOf
from trainers.training.checkpoint import STATE
from trainers.training.rounds import RoundRow
from trainers.trial import CHECKPOINTS, round_name


def ensemble_trainings(own: Reproduction | None) -> dict[str, tuple[str, ...]]:
    """Return the trainings whose models a reproduction's ensembles need: name -> scored tasks; none for a search."""
    if own is None:
        return {}
    ensembles = [name for name in own.recipes if isinstance(recipe(name), EnsembleOf)]
    parts = {part: config for name in ensembles for part, config in configs(name).items()}
    return {own.trained_as[part]: config.tasks for part, config in parts.items()}


def ensemble_rounds(own: Reproduction | None) -> int:
    """Return the largest number of rounds that a reproduction's ensembles need: of each training, one per task."""
    return own.seeds * sum(map(len, ensemble_trainings(own).values())) if own else 0


def best_rounds(trial: Trial) -> dict[str, int]:
    """Return the round of a trial with the best metric of each task, the earliest of equals; none without rounds."""
    rows = trial.rows
    return {
        task: max((row for row in rows if task in row.metrics), key=lambda row: row.metrics[task]).round
        for task in (rows[-1].metrics if rows else ())
    }


class KeptCheckpoints:
    """The checkpoints of ended trials that are kept: rounds for an ensemble, and stopped trials that can continue.

    Both are functions of the ended trials, whenever they ended: what is deleted could not become one of the best.
    """

    def __init__(self, run: Run, ended: Iterable[Trial], continuing: Iterable[int] = ()):
        """Find the checkpoints that ended trials have left; delete those that are not among the best.

        Args:
            continuing: stopped trials that continue under other numbers, which have not ended.
        """
        self.run = run
        self.members = ensemble_trainings(run.search.reproduction)
        self.needed: set[tuple[int, int]] = set()
        """(trial, round) of the rounds that ensembles of recipes may need; their weights are kept before others."""
        self.rows: dict[tuple[int, int], RoundRow] = {}
        """(trial, round) -> row of the rounds whose weights are on the disk."""
        self.stopped: dict[int, RoundRow] = {}
        """Stopped trial -> row of its newest round, whose full state is on the disk."""
        self.continuing = set(continuing)
        """Stopped trials that continue under other numbers: a failure there may need their states again."""
        self.continued: set[int] = set()
        """Stopped trials that have continued under other numbers and ended there."""
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
        if trial.clone and trial.clone.continues:
            self.continued.add(trial.clone.trial)
            self.continuing.discard(trial.clone.trial)
        if trial.params.get("recipe") in self.members and trial.state == TrialState.COMPLETE.name:
            self.needed |= {(trial.number, round) for round in best_rounds(trial).values()}
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
        stopped = {(number, row.round) for number, row in self.stopped.items()}  # a state has no weights of its own
        for number, round in self.rows.keys() - self._best_rounds() - stopped:
            (self.run.trial_folder(number) / CHECKPOINTS).delete(round_name(round))
            del self.rows[number, round]

    def _best_rounds(self) -> set[tuple[int, int]]:
        """Return (trial, round) of the rounds that keep their weights: those that ensembles need, then the best."""
        keep = self.run.keep
        needed = set(sorted(self.needed & self.rows.keys())[: keep.count])
        others = {key: row for key, row in self.rows.items() if key not in needed}
        return needed | replace(keep, count=keep.count - len(needed)).best(others)

    def _best_stopped(self) -> list[int]:
        """Return the stopped trials that keep their states: those that continue, then the best by their newest rounds.

        A trial that has continued to its end needs its state no more. Of equals, the earlier keeps its state.
        """
        values = {number: value_to_maximize(row, self.run.objectives) for number, row in self.stopped.items()}
        known = {
            number: value for number, value in values.items() if value is not None and number not in self.continued
        }
        return sorted(known, key=lambda number: (number not in self.continuing, -known[number], number))[
            : self.run.keep.states
        ]

    def _place(self, number: int, row: RoundRow) -> Folder:
        return self.run.trial_folder(number) / CHECKPOINTS / round_name(row.round)
