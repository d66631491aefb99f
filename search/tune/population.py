"""A population's trials: whose turn it is, who is replaced, and what the clone trains that takes its place."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
import pydantic
from optuna.trial import FrozenTrial, TrialState

from model.errors import InputError
from search.runs.objectives import SCORE, rung_values
from search.runs.run import Run
from search.runs.trial_record import CLONE, Clone, Trial, clone_of
from search.suggest.space import Shape, Space, call, shape_of
from search.tune.exploit_explore import donors, drawn, explored
from trainers.config.changes import Change
from trainers.config.dotted_paths import difference
from trainers.config.train_config import TrainConfig
from trainers.training.checkpoint import STATE
from trainers.trial import CHECKPOINTS, CONFIG, round_name


class Population:
    """Trials that take turns, a round each. It remembers nothing: all is read from the run's files and the study."""

    def __init__(self, run: Run, study: optuna.Study, space: Space, shape: Shape):
        """Take what is searched; `shape` is what every config's rounds must look like."""
        self.run, self.study, self.space, self.shape = run, study, space, shape
        self.corpus = run.corpus()

    def turn(self, waiting: Sequence[FrozenTrial], new: bool) -> int | None:
        """Return the place of the least advanced of trials that wait; None where that is one yet to be begun.

        Donors are never more than a round ahead of it, if all rounds take equally long: two full states are enough.

        Args:
            new: whether one may be begun.
        """
        rounds = {trial.number: trial.rows[-1]["round"] for trial in self.run.trials() if trial.rows}

        def advance(place: int) -> tuple[int, int]:
            trial = waiting[place]
            clone = clone_of(trial)
            if clone and trial.number not in rounds:
                return clone.round, clone.replaced  # whose turn it was
            return rounds.get(trial.number, 0), trial.number

        first = min(range(len(waiting)), key=advance, default=None)
        return None if first is None or (new and advance(first)[0]) else first

    def begun(self, number: int) -> FrozenTrial | None:
        """Return the clone that has taken a trial's place, if one has."""
        clones = ((trial, clone_of(trial)) for trial in self.study.get_trials(deepcopy=False))
        return next((trial for trial, clone in clones if clone and clone.replaced == number), None)

    def successor(self, number: int) -> FrozenTrial | None:
        """Begin the clone that takes a trial's place, if its newest round is among the worst; else None.

        A donor's full state of the round must still be there: clones do not train again what others have trained.
        """
        trials = {trial.number: trial for trial in self.run.trials()}
        rows = trials[number].rows if number in trials else []
        if not rows or rows[-1]["last"] or rows[-1]["score"] is None:
            return None
        judged, seed = rows[-1]["judged"], self.run.search["seed"]
        scores = self._scores(trials.values(), judged)
        able = [donor for donor in donors(scores, number) if _resumable(trials[donor], judged)]
        if not able:
            return None
        donor = trials[drawn(able, seed, number, judged)]
        row = _row(donor, judged)
        return self._begin(Clone(donor.number, row["round"], row["examples"], number))

    def config(self, trial: FrozenTrial) -> TrainConfig:
        """Return the config of a clone: its donor's, and from the next round on what its parameters change.

        Raises:
            InputError: the space does not give it.
        """
        clone = clone_of(trial)
        assert clone
        return self._config(self._told(clone.trial), clone.round, trial.params)

    def _scores(self, trials: Iterable[Trial], judged: int) -> dict[int, float]:
        """Return what trials had reached by a judged round: in the objective, or in the score if there are several."""
        names = self.run.objectives if len(self.run.objectives) == 1 else [SCORE]
        found = {trial.number: rung_values(_row(trial, judged), names) for trial in trials if judged in trial.judged}
        return {number: values[0] for number, values in found.items() if values}

    def _begin(self, clone: Clone) -> FrozenTrial:
        """Add a clone to the study: at once with all that it is, so that no crash leaves half of it."""
        told = self._told(clone.trial)
        params = self._explored(told, clone)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=params,
                distributions=told.distributions,
                user_attrs={CLONE: asdict(clone)},
            )
        )
        return self.study.get_trials(deepcopy=False)[-1]

    def _explored(self, donor: FrozenTrial, clone: Clone) -> dict[str, Any]:
        """Return a donor's parameters with other values for those that may change in the middle of a run."""
        params, seed = donor.params, self.run.search["seed"]
        for name, value in explored(donor.params, donor.distributions, seed, clone.replaced, clone.round).items():
            with contextlib.suppress(InputError, pydantic.ValidationError, optuna.TrialPruned):
                moved = params | {name: value}
                if shape_of(self._config(donor, clone.round, moved), self.corpus).matches(self.shape):
                    params = moved
        return params

    def _config(self, donor: FrozenTrial, round: int, params: Mapping[str, Any]) -> TrainConfig:
        before, after = (
            call(self.space, optuna.trial.FixedTrial(dict(values), donor.number)).model_dump(mode="json")
            for values in (donor.params, params)
        )
        config = TrainConfig.model_validate_json(self.run.trial_folder(donor.number).read(CONFIG))
        values = difference(before, after)
        return config.replace(changes=(*config.changes, *([Change(round=round + 1, values=values)] if values else [])))

    def _told(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]


def _row(trial: Trial, judged: int) -> dict[str, Any]:
    return next(row for row in trial.rows if row["judged"] == judged)


def _resumable(trial: Trial, judged: int) -> bool:
    return (trial.folder / CHECKPOINTS / round_name(_row(trial, judged)["round"])).exists(STATE)
