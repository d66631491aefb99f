"""An Optuna study as Tune's searcher, and the one place where a trial ends."""

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from model.errors import InputError
from search.runs.kept_weights import KeptWeights
from search.runs.objectives import ENSEMBLE, last_values, trial_values
from search.runs.rebuilt_study import reported, stopped_attributes
from search.runs.run import Run
from search.runs.trial_record import RUNNING, TRIAL, Trial, clone_of, end_trial, start_trial
from search.selection.contribution import Contributions
from search.suggest.samplers import SAMPLERS
from search.suggest.space import Shape, Space, call, shape_of
from search.suggest.warm_start import warm_trials
from search.suggest.wrapped_samplers import Shown
from search.tune.budgets import CUT
from search.tune.population import Population
from search.tune.trainable import row_of
from trainers.seeds import seed_of
from trainers.trial import CONFIG, ERROR, read_rows

FAILURES = 3
"""A trial is given up after so many failures without a finished round between them."""
KEPT_EVERY = 100
"""Trials. To keep what there is after every one would hold on to 120 kB of garbage each."""


def ending(result: dict[str, Any] | None, error: bool) -> TrialState:
    """Name how a trial ended; RUNNING means that it was interrupted, to be continued."""
    if error or (result and not result["finite"]):
        return TrialState.FAIL
    if not result:
        return TrialState.RUNNING
    return TrialState.COMPLETE if result["last"] else TrialState.PRUNED


class StudySearcher(Searcher):
    """Ask a study for configs, and tell it the truth about them. All that it knows can be rebuilt from the run."""

    def __init__(
        self,
        study: optuna.Study,
        run: Run,
        space: Space,
        shape: Shape | None,
        *,
        trials: int,
        spent: Callable[[], bool],
        population: Population | None = None,
    ):
        """Take over a study whose trials are those of the run.

        Args:
            shape: what every config's rounds must look like; None if trials are not compared.
            trials: how many to start in all, those of earlier sessions included.
            spent: () -> bool, whether a budget is used up, so that no trial starts.
            population: for trials that take turns: whose it is, and who is replaced; clones come on top of `trials`.
        """
        super().__init__(metric="score", mode="max")
        self.study, self.run, self.space, self.shape = study, run, space, shape
        self.count, self.spent, self.population = trials, spent, population
        self.corpus = run.corpus()
        self.before = warm_trials(run)
        self.contributions = Contributions(run) if run.objectives == [ENSEMBLE] else None
        self.live: dict[str, optuna.Trial] = {}
        ended = {trial.number: trial for trial in run.trials() if trial.state != RUNNING}
        self.started = sum(map(_counts, study.get_trials(deepcopy=False)))
        """Trials that count: begun, and not as somebody's clone."""
        self.weights = KeptWeights(run, (trial for trial in ended.values() if not self._may_be_cloned(trial)))
        for frozen in self._frozen(TrialState.RUNNING):
            if frozen.number in ended:  # its end was written, but the driver died before all knew
                trial = ended[frozen.number]
                self._tidy(trial)
                self._tell(optuna.Trial(study, frozen._trial_id), TrialState[trial.state], trial.values)
            elif self.population and (clone := self.population.begun(frozen.number)):
                self._replace(frozen, clone)
        self.unfinished = self._frozen(TrialState.RUNNING)
        _keep()

    def suggest(self, trial_id: str) -> Any:
        """Hand out a trial: first those that were interrupted, under their own numbers, then new ones.

        Returns:
            What the trainable needs; None to be asked again; or Tune's mark that it is enough.
        """
        if self.spent():
            return Searcher.FINISHED
        if not self.unfinished and self.started >= self.count:
            return None if self.population and self.live else Searcher.FINISHED  # of a population, all come back
        trial = self._next()
        try:
            text = self._started_config(trial)
        except optuna.TrialPruned:
            self._end(trial, TrialState.PRUNED, "infeasible by the space")
            return None  # Tune asks again
        except InputError as error:
            self._end(trial, TrialState.FAIL, str(error))
            return None
        folder = self.run.trial_folder(trial.number)
        self.live[trial_id] = trial
        self._report(trial, read_rows(folder))  # what the trial did after the study last heard of it
        clone = clone_of(self._told(trial))
        return {
            "number": trial.number,
            "folder": folder.uri,
            "train": text,
            "replaced": clone and clone.replaced,
            "origin": clone and {"folder": self.run.trial_folder(clone.trial).uri, "round": clone.round},
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note a finished round."""
        self._report(self.live[trial_id], [row_of(result)])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note how a trial ended. Tune hands the last round of a stopped trial to this method only."""
        if trial_id not in self.live:
            return
        if result:
            self.on_trial_result(trial_id, result)
        trial, state = self.live[trial_id], ending(result, error)
        if self.population and state == TrialState.PRUNED:
            state = TrialState.RUNNING  # it has left its slot to the next one
        if state == TrialState.RUNNING:
            self.unfinished.append(self._told(trial))
        else:
            self._end(trial, state, self._reason(state, self._record(trial), error))
        del self.live[trial_id]  # last: if the end cannot be written, Tune asks again

    def close(self) -> None:
        """End what a budget has left open, so that nothing is RUNNING when the search has ended."""
        for frozen in self._frozen(TrialState.RUNNING):
            trial = optuna.Trial(self.study, frozen._trial_id)
            rows = read_rows(self.run.trial_folder(trial.number))
            state = ending(rows[-1], error=False) if rows else TrialState.PRUNED
            self._end(trial, state, self._reason(state, self._record(trial), error=False))
        if self.population:
            self.population = None  # nobody will be cloned any more
            for trial in self.run.trials():
                self._tidy(trial)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is the state, and it is saved."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a search is resumed by a new Tuner on the same study."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {}  # keeps the study, whose URL may hold a password, out of Tune's pickles

    def _frozen(self, *states: TrialState) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _next(self) -> optuna.Trial:
        """Choose whom to hand out: who was interrupted, then a new trial; of a population, the least advanced."""
        place = 0 if self.unfinished else None
        if self.population:
            place = self.population.turn(self.unfinished, self.started < self.count)
        if place is None:
            return self._ask()
        frozen = self.unfinished.pop(place)
        if self.population and (clone := self.population.successor(frozen.number)):
            self._replace(frozen, clone)
            return self._take_up(clone)
        return self._take_up(frozen)

    def _replace(self, frozen: optuna.trial.FrozenTrial, successor: optuna.trial.FrozenTrial) -> None:
        """End a trial whose place a clone has taken."""
        clone = clone_of(successor)
        assert clone
        reason = f"replaced by a clone of trial {clone.trial} at round {clone.round}"
        self._end(optuna.Trial(self.study, frozen._trial_id), TrialState.PRUNED, reason)

    def _ask(self) -> optuna.Trial:
        self.started += 1
        trial = self.study.ask()
        self.study.sampler = self._sampler(trial.number)  # it draws when the space asks for a parameter
        return trial

    def _take_up(self, frozen: optuna.trial.FrozenTrial) -> optuna.Trial:
        """Go on with a trial; what it had not drawn yet is drawn as it would have been."""
        self.study.sampler = self._sampler(frozen.number)
        return optuna.Trial(self.study, frozen._trial_id)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return the Optuna sampler of one trial: one for all would draw its first points again after a restart."""
        search, before = self.run.search, self.before
        # Under its own seed a search would begin with the points that the earlier one began with.
        place = ("warm start", len(before)) if before else ()
        seed = seed_of(search["seed"], number, "sampler", *place) % 2**32
        sampler = SAMPLERS[search["sampler"]](seed, scored=self.contributions is None)
        return Shown(sampler, lambda study: [*before, *study.get_trials(deepcopy=False)]) if before else sampler

    def _started_config(self, trial: optuna.Trial) -> str:
        """Return a trial's config as JSON, from its directory if it was started before."""
        folder = self.run.trial_folder(trial.number)
        if folder.exists(TRIAL) and folder.exists(CONFIG):
            return folder.read(CONFIG).decode()
        told = self._told(trial)
        config = self.population.config(told) if self.population and clone_of(told) else call(self.space, trial)
        if self.shape and not (shape := shape_of(config, self.corpus)).matches(self.shape):
            raise InputError(
                f"{self.space.path}: {shape}, which do not compare with the search's {self.shape}. "
                "Give every config the same tasks, rounds and examples."
            )
        text = config.model_dump_json(indent=2)
        start_trial(folder, self._told(trial), text)
        return text

    def _told(self, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
        """Return what the study knows of a trial now, without listing all trials."""
        return trial.storage.get_trial(trial._trial_id)

    def _record(self, trial: optuna.Trial) -> Trial:
        folder = self.run.trial_folder(trial.number)
        return Trial(folder, trial.number, trial.params, {}, RUNNING, None, None, read_rows(folder))

    def _report(self, trial: optuna.Trial, rows: list[dict[str, Any]]) -> None:
        """Report the judged rounds that the study does not know yet."""
        known = self._told(trial).intermediate_values
        for judged, value in reported(rows, self.run.objectives).items():
            if judged not in known:
                trial.report(value, judged)

    def _end(self, trial: optuna.Trial, state: TrialState, reason: str) -> None:
        """Write the end of a trial, then tell the study; a crash in between is mended at the next start."""
        record = self._record(trial)
        self._report(trial, record.rows)
        if not record.folder.exists(TRIAL):
            start_trial(record.folder, self._told(trial), None)
        values = self._values(record, state)
        end_trial(record.folder, state, values, reason)
        if self.contributions:
            self.contributions.add(trial.number)
        self._tidy(replace(record, state=state.name, values=values))
        self._tell(trial, state, values)  # last: a trial that the study calls open is tidied at the next start
        if trial.number % KEPT_EVERY == 0:
            _keep()

    def _values(self, trial: Trial, state: TrialState) -> list[float] | None:
        """Return the values of an ended trial: of its best round if it finished, of its last one if it was stopped."""
        if state == TrialState.COMPLETE and self.contributions:
            return [self.contributions.of(trial.number)]
        if state == TrialState.FAIL:
            return None
        return (trial_values if state == TrialState.COMPLETE else last_values)(trial.rows, self.run.objectives)

    def _may_be_cloned(self, trial: Trial) -> bool:
        """Whether an ended trial may be a donor: what finished first, while others are a round behind."""
        return self.population is not None and trial.state == TrialState.COMPLETE.name

    def _tidy(self, trial: Trial) -> None:
        """Delete what an ended trial has on the disk that nobody needs."""
        if not self._may_be_cloned(trial):
            self.weights.tidy(trial)

    def _tell(self, trial: optuna.Trial, state: TrialState, values: list[float] | None) -> None:
        for name, value in stopped_attributes(state, values, several=len(self.run.objectives) > 1).items():
            trial.set_user_attr(name, value)
        # Of a pruned trial Optuna takes the last reported value itself, and refuses to be told.
        self.study.tell(trial.number, values if state == TrialState.COMPLETE else None, state, skip_if_finished=True)

    def _reason(self, state: TrialState, record: Trial, error: bool) -> str:
        if error:
            text = record.folder.read(ERROR).decode() if record.folder.exists(ERROR) else ""
            lost = f"its worker was lost {FAILURES} times without a finished round"
            return text.strip().splitlines()[-1] if text else lost
        if state == TrialState.FAIL:
            return f"loss or weights were not finite in round {record.rows[-1]['round']}"
        if state == TrialState.COMPLETE:
            return "finished"
        if self.spent() or not record.rows:
            return CUT
        return f"stopped early after round {record.rows[-1]['round']}"


def _counts(frozen: optuna.trial.FrozenTrial) -> bool:
    return frozen.state != TrialState.WAITING and not clone_of(frozen)


def _keep() -> None:
    """Let Python's garbage collector forget what it has seen: it stays, and of thousands of trials it takes .3 s."""
    gc.collect()
    gc.freeze()
