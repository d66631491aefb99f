"""Population-based training on a study: choose the next trial, replace the worst trials by clones of the best."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
import pydantic
from optuna.trial import FrozenTrial, TrialState

from model.errors import InputError
from search.runs.objectives import value_to_maximize
from search.runs.run import Run
from search.runs.trial_record import Clone, Trial, clone_of
from search.suggest.space import Space, TrialShape, suggest_config, trial_shape
from search.tune.exploit_explore import donors, draw_donor, explore
from search.tune.trials.order import Next
from search.tune.trials.study_trials import begin_clone
from trainers.config.changes import Change
from trainers.config.dotted_paths import difference
from trainers.config.train_config import TrainConfig
from trainers.training.rounds import RoundRow
from trainers.trial import read_config


class Population:
    """Trials that take turns: each trains one judged round, then waits. The files and the study hold its state."""

    stopped = TrialState.RUNNING

    def __init__(self, run: Run, study: optuna.Study, space: Space, shape: TrialShape):
        """Start without waiting trials.

        Args:
            space: suggests the config of each trial that is not a clone.
            shape: the shape that every config must have.
        """
        self.run, self.study, self.space, self.shape = run, study, space, shape
        self.corpus = run.corpus()
        self.waiting: list[FrozenTrial] = []

    def add(self, frozen: FrozenTrial) -> None:
        """Add a trial that waits for its next round."""
        self.waiting.append(frozen)

    def finished(self, *, may_begin: bool, training: bool) -> bool:
        """Return whether no trial waits or is trained, and no new one may begin."""
        return not self.waiting and not may_begin and not training

    def next(self, *, may_begin: bool, held: bool = False) -> Next | None:
        """Choose the waiting trial with the fewest rounds, or the clone that replaces it; a new trial before both.

        A donor is then at most one round ahead, if all rounds take equally long, so two full states per trial suffice.
        """
        may_begin = may_begin and not held
        rounds = {trial.number: trial.rows[-1].round for trial in self.run.trials() if trial.rows}

        def progress(place: int) -> tuple[int, int]:
            trial = self.waiting[place]
            clone = clone_of(trial)
            if clone and trial.number not in rounds:
                return clone.round, clone.replaced  # the clone takes the turn of the trial that it replaces
            return rounds.get(trial.number, 0), trial.number

        first = min(range(len(self.waiting)), key=progress, default=None)
        if first is None or (may_begin and progress(first)[0]):
            return Next() if may_begin else None
        frozen = self.waiting.pop(first)
        clone = self.replacement(frozen.number)
        return Next(clone, replaced=frozen) if clone else Next(frozen)

    def clone_in_place_of(self, number: int) -> FrozenTrial | None:
        """Return the clone that has been begun in the place of a trial, if there is one."""
        clones = ((trial, clone_of(trial)) for trial in self.study.get_trials(deepcopy=False))
        return next((trial for trial, clone in clones if clone and clone.replaced == number), None)

    def replacement(self, number: int) -> FrozenTrial | None:
        """Begin the clone that replaces a trial, if the trial's newest round is among the worst; else return None.

        The donor's full state of the round must still exist: a clone does not repeat the donor's training.
        """
        trials = {trial.number: trial for trial in self.run.trials()}
        rows = trials[number].rows if number in trials else []
        newest = rows[-1] if rows else None
        if newest is None or newest.last or newest.judged is None or newest.score is None:
            return None
        judged, seed = newest.judged, self.run.search.seed
        scores = self._scores(trials.values(), judged)
        able = [donor for donor in donors(scores, number) if trials[donor].has_state(_row(trials[donor], judged).round)]
        if not able:
            return None
        donor = trials[draw_donor(able, seed, number, judged)]
        row = _row(donor, judged)
        return self._begin(Clone(donor.number, row.round, row.examples, number))

    def config(self, trial: optuna.Trial) -> TrainConfig:
        """Return the config of a trial: for a clone, its donor's with the clone's values from the next round on.

        Raises:
            InputError: the space gives no config.
        """
        clone = clone_of(trial)
        return self._clone_config(clone, trial.params) if clone else suggest_config(self.space, trial)

    def may_be_donor(self, trial: Trial) -> bool:
        """Return whether an ended trial has finished: trials that are a round behind may still become its clones."""
        return trial.state == TrialState.COMPLETE.name

    def _scores(self, trials: Iterable[Trial], judged: int) -> dict[int, float]:
        """Return trial -> value after a judged round: of the objective; with several objectives, the score."""
        rows = {trial.number: _row(trial, judged) for trial in trials if judged in trial.scores}
        found = {number: value_to_maximize(row, self.run.objectives) for number, row in rows.items()}
        return {number: value for number, value in found.items() if value is not None}

    def _begin(self, clone: Clone) -> FrozenTrial:
        """Begin a clone with the parameters of its donor, some of them explored."""
        donor = self._frozen(clone.trial)
        return begin_clone(self.study, clone, self._explored(donor, clone), donor.distributions)

    def _explored(self, donor: FrozenTrial, clone: Clone) -> dict[str, Any]:
        """Return the donor's parameters, with new values for parameters that may change during training."""
        params, seed = donor.params, self.run.search.seed
        for name, value in explore(donor.params, donor.distributions, seed, clone.replaced, clone.round).items():
            with contextlib.suppress(InputError, pydantic.ValidationError, optuna.TrialPruned):
                changed = params | {name: value}
                if trial_shape(self._changed_config(donor, clone.round, changed), self.corpus).matches(self.shape):
                    params = changed
        return params

    def _clone_config(self, clone: Clone, params: Mapping[str, Any]) -> TrainConfig:
        return self._changed_config(self._frozen(clone.trial), clone.round, params)

    def _changed_config(self, donor: FrozenTrial, round: int, params: Mapping[str, Any]) -> TrainConfig:
        """Return the donor's config, with the values of other parameters from the round after `round` on."""
        before, after = (
            suggest_config(self.space, optuna.trial.FixedTrial(dict(values), donor.number)).model_dump(mode="json")
            for values in (donor.params, params)
        )
        config = read_config(self.run.trial_folder(donor.number))
        values = difference(before, after)
        return config.replace(changes=(*config.changes, *([Change(round=round + 1, values=values)] if values else [])))

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]


def _row(trial: Trial, judged: int) -> RoundRow:
    return next(row for row in trial.rows if row.judged == judged)
