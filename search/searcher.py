"""An Optuna study as Tune's searcher, and the one place where a trial ends."""

import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from model.errors import InputError
from search.budgets import USED_UP
from search.cloning import Population
from search.runs import RUNNING, TRIAL, Run, Trial, clone_of, delete_states, end_trial, start_trial
from search.space import Shape, Space, call, shape_of
from search.warm_sampler import WarmSampler
from search.warm_start import warm_trials
from trainers.checkpoint import best_rounds
from trainers.files import Folder
from trainers.seeds import seed_of
from trainers.trial import CHECKPOINTS, CONFIG, ERROR, read_rows, round_name

FAILURES = 3
"""A trial is given up after so many failures without a finished round between them."""


def ending(result: dict[str, Any] | None, error: bool) -> TrialState:
    """Name how a trial ended; RUNNING means that it was interrupted, to be continued."""
    if error or (result and not result["finite"]):
        return TrialState.FAIL
    if not result:
        return TrialState.RUNNING
    return TrialState.COMPLETE if result["last"] else TrialState.PRUNED


def value_of(trial: Trial, state: TrialState) -> float | None:
    """Return the value of an ended trial: its best score if it finished, its last one if it was stopped."""
    scores = list(trial.judged.values())
    if state == TrialState.FAIL or not scores:
        return None
    return max(scores) if state == TrialState.COMPLETE else scores[-1]


def optuna_sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Return the Optuna sampler of one trial.

    One seed for all would repeat itself: a resumed search would draw its first points again.
    """
    with warnings.catch_warnings():
        # `group`, for the parameters that not every trial has, is still marked experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed_of(seed, number, "sampler") % 2**32, group=True, multivariate=True)


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
        self.live: dict[str, optuna.Trial] = {}
        ended = {trial.number: trial for trial in run.trials() if trial.state != RUNNING}
        self.weights = {
            (trial.number, row["round"]): row
            for trial in ended.values()
            for row in trial.rows
            if not self._may_be_cloned(TrialState[trial.state])
        }
        self._prune()
        for frozen in self._frozen(TrialState.RUNNING):
            if frozen.number in ended:  # its end was written, but the driver died before all knew
                trial = ended[frozen.number]
                self._tidy(trial.folder, trial.number, TrialState[trial.state])
                self._tell(frozen.number, TrialState[trial.state], trial.value)
            elif self.population and (clone := self.population.begun(frozen.number)):
                self._replace(frozen, clone)
        self.unfinished = self._frozen(TrialState.RUNNING)

    def suggest(self, trial_id: str) -> Any:
        """Hand out a trial: first those that were interrupted, under their own numbers, then new ones.

        Returns:
            What the trainable needs; None to be asked again; or Tune's mark that it is enough.
        """
        if self.spent():
            return Searcher.FINISHED
        if not self.unfinished and self._started() >= self.count:
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
        for row in read_rows(folder):  # what the trial did after the study last heard of it
            self._report(trial, row)
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
        self._report(self.live[trial_id], result)

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
                self._tidy(trial.folder, trial.number, TrialState[trial.state])

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is the state, and it is saved."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a search is resumed by a new Tuner on the same study."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {}  # keeps the study, whose URL may hold a password, out of Tune's pickles

    def _frozen(self, *states: TrialState) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _started(self) -> int:
        trials = self.study.get_trials(deepcopy=False)
        return sum(frozen.state != TrialState.WAITING and not clone_of(frozen) for frozen in trials)

    def _next(self) -> optuna.Trial:
        """Choose whom to hand out: who was interrupted, then a new trial; of a population, the least advanced."""
        place = 0 if self.unfinished else None
        if self.population:
            place = self.population.turn(self.unfinished, self._started() < self.count)
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

    def _take_up(self, frozen: optuna.trial.FrozenTrial) -> optuna.Trial:
        """Go on with a trial; what it had not drawn yet is drawn as it would have been."""
        self.study.sampler = self._sampler(frozen.number)
        return optuna.Trial(self.study, frozen._trial_id)

    def _ask(self) -> optuna.Trial:
        waiting = self._frozen(TrialState.WAITING)
        number = waiting[0].number if waiting else len(self.study.get_trials(deepcopy=False))
        self.study.sampler = self._sampler(number)
        return self.study.ask()

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = self.run.search["seed"]
        if not self.before:
            return optuna_sampler(seed, number)
        # Under its own seed a search would begin with the points that the earlier one began with.
        return WarmSampler(optuna_sampler(seed_of(seed, len(self.before), "warm start"), number), self.before)

    def _started_config(self, trial: optuna.Trial) -> str:
        """Return a trial's config as JSON, from its directory if it was started before."""
        folder = self.run.trial_folder(trial.number)
        if folder.exists(TRIAL) and folder.exists(CONFIG):
            return folder.read(CONFIG).decode()
        told = self._told(trial)
        config = self.population.config(told) if self.population and clone_of(told) else call(self.space, trial)
        if self.shape and not (shape := shape_of(config, self.corpus)).matches(self.shape):
            raise InputError(
                f"{self.space.path}: rounds of {shape}, which do not compare with the search's {self.shape}"
            )
        text = config.model_dump_json(indent=2)
        start_trial(folder, self._told(trial), text)
        return text

    def _told(self, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
        """Return what the study knows of a trial now."""
        return self.study.get_trials(deepcopy=False)[trial.number]

    def _record(self, trial: optuna.Trial) -> Trial:
        folder = self.run.trial_folder(trial.number)
        return Trial(folder, trial.number, trial.params, {}, RUNNING, None, None, read_rows(folder))

    def _report(self, trial: optuna.Trial, row: dict[str, Any]) -> None:
        if row["score"] is not None and row["judged"] not in self._told(trial).intermediate_values:
            trial.report(row["score"], row["judged"])

    def _end(self, trial: optuna.Trial, state: TrialState, reason: str) -> None:
        """Write the end of a trial, then tell the study; a crash between the two is mended at the next start."""
        folder = self.run.trial_folder(trial.number)
        for row in read_rows(folder):
            self._report(trial, row)
        if not folder.exists(TRIAL):
            start_trial(folder, self._told(trial), None)
        value = value_of(self._record(trial), state)
        end_trial(folder, state, value, reason)
        self._tell(trial.number, state, value)
        self._tidy(folder, trial.number, state)

    def _may_be_cloned(self, state: TrialState) -> bool:
        """Whether an ended trial may be a donor: what finished first, while others are a round behind."""
        return self.population is not None and state == TrialState.COMPLETE

    def _tidy(self, folder: Folder, number: int, state: TrialState) -> None:
        """Delete what an ended trial has on the disk that nobody needs."""
        if not self._may_be_cloned(state):
            delete_states(folder)
            self.weights |= {(number, row["round"]): row for row in read_rows(folder)}
            self._prune()

    def _tell(self, number: int, state: TrialState, value: float | None) -> None:
        # Of a pruned trial Optuna takes the last reported score itself, and refuses to be told.
        self.study.tell(number, value if state == TrialState.COMPLETE else None, state, skip_if_finished=True)

    def _prune(self) -> None:
        """Delete the weights of ended trials' rounds that are not among the run's best."""
        keep = best_rounds(self.weights)
        for number, round in self.weights.keys() - keep:
            (self.run.trial_folder(number) / CHECKPOINTS).delete(round_name(round))
            del self.weights[number, round]

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
            return USED_UP
        return f"stopped early after round {record.rows[-1]['round']}"
