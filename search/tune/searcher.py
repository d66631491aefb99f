"""Connect an Optuna study to Ray Tune; the only place where a trial ends."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from model.errors import InputError
from search.runs.kept_checkpoints import KeptCheckpoints
from search.runs.objectives import ENSEMBLE, last_round_values, trial_values
from search.runs.run import Run
from search.runs.trial_record import RUNNING, TRIAL, Trial, clone_of, end_trial, start_trial
from search.selection.contribution import Contributions
from search.suggest.optuna_internals import frozen_trial
from search.suggest.space import TrialShape, trial_shape
from search.tune.trials.endings import TrialListener, ending_reason, ending_state
from search.tune.trials.failures import TrialFailed, failure_of, lasting_fault, refused, write_log
from search.tune.trials.garbage import FREEZE_EVERY, freeze_objects
from search.tune.trials.order import TrialOrder
from search.tune.trials.results import row_of
from search.tune.trials.retries import Retries, Verdict
from search.tune.trials.study_trials import StudyTrials
from trainers.trial import read_config, read_rows


class StudySearcher(Searcher):
    """Ask the study for configs and report results to it. All of its state can be rebuilt from the run."""

    def __init__(
        self,
        study: optuna.Study,
        run: Run,
        order: TrialOrder,
        shape: TrialShape | None,
        *,
        trials: int | None,
        spent: Callable[[], bool],
        error_of: Callable[[str], BaseException],
        listener: TrialListener,
    ):
        """Continue a study whose trials are those of the run.

        Args:
            order: decides which trial is next.
            shape: the shape that every config must have; None if trials are not compared.
            trials: the number of trials to begin, earlier sessions included, None for no limit; clones come on top.
            spent: () -> bool, whether a budget is used up, so that no trial begins.
            error_of: Tune's id of a trial -> the error that it reports for the trial.
            listener: receives the end or failure of every trial.
        """
        super().__init__(metric="score", mode="max")
        self.study, self.run, self.order, self.shape, self.spent = study, run, order, shape, spent
        self.error_of, self.listener = error_of, listener
        self.trials = StudyTrials(study, run, trials)
        self.corpus = run.corpus()
        self.contributions = Contributions(run) if run.objectives == [ENSEMBLE] else None
        self.live: dict[str, optuna.Trial] = {}
        """Tune's id of a trial -> the trial, while it is trained."""
        self.paused: dict[int, FrozenTrial] = {}
        """Trials that wait after a failure."""
        self.retries = Retries({trial.number: trial.rows[-1].round for trial in run.trials() if trial.rows})
        self.fault: Exception | None = None
        """The driver's own error in ending a trial; Tune reports it as an error of the trial."""
        ended = {trial.number: trial for trial in run.trials() if trial.state != RUNNING}
        self.donors = {number: trial for number, trial in ended.items() if order.may_be_donor(trial)}
        """Ended trials whose full states a clone may need."""
        others = (trial for number, trial in ended.items() if number not in self.donors)
        self.kept = KeptCheckpoints(run, others, self.trials.continuing())
        for frozen in self.trials.running():  # a kill may have kept rounds and ends from the study
            self.trials.report(self.trials.open(frozen), read_rows(run.trial_folder(frozen.number)))
            if frozen.number in ended:
                trial = ended[frozen.number]
                self._tidy(trial)
                self.trials.end(self.trials.open(frozen), TrialState[trial.state], trial.values)
            elif clone := order.clone_in_place_of(frozen.number):
                self._replace(frozen, clone)
        for frozen in self.trials.running():
            order.add(frozen)
        freeze_objects()

    def suggest(self, trial_id: str) -> Any:
        """Hand a trial to Tune: a resumed trial under its own number, or a new one.

        Returns:
            What the trainable needs; None if Tune should ask again; or Tune's mark that no trial will follow.
        """
        may_begin = self.trials.may_begin
        self._decide_on_paused(may_begin)
        done = not self.paused and self.order.finished(may_begin=may_begin, training=bool(self.live))
        if self.spent() or done:
            return Searcher.FINISHED
        if not (trial := self._next(may_begin)):
            return None
        try:
            config = self._started_config(trial)
        except optuna.TrialPruned:
            self._end(trial, TrialState.PRUNED, "infeasible by the space")
            return None  # Tune asks again
        except InputError as error:
            self._fail(trial, refused(error))
            return None
        folder = self.run.trial_folder(trial.number)
        self.live[trial_id] = trial
        clone = clone_of(frozen_trial(trial))
        return {
            "number": trial.number,
            "folder": folder.uri,
            "train": config,
            "replaced": clone and clone.replaced,
            "origin": clone and {"folder": self.run.trial_folder(clone.trial).uri, "round": clone.round},
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report a finished round to the study."""
        row, trial = row_of(result), self.live[trial_id]
        self.retries.add_round(trial.number, row.round)
        self.trials.report(trial, [row])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """End or pause a trial. Tune passes the last round of a stopped trial to this method only."""
        if trial_id not in self.live:
            return
        if self.fault:
            raise self.fault
        try:
            if error:
                self.fail(trial_id, failure_of(self.error_of(trial_id)))
            else:
                self._complete(trial_id, result)
        except Exception as fault:
            self.fault = fault
            raise

    def fail(self, trial_id: str, failure: TrialFailed) -> None:
        """Let a trial that is trained wait after a failure, or end it."""
        trial = self.live[trial_id]
        if self.retries.fails(trial.number, failure.fault):
            self._fail(trial, failure)
        else:
            self._log(trial, failure)
            self.paused[trial.number] = frozen_trial(trial)
            self.listener.paused(trial.number, failure.fault.reason, self.retries.wait(trial.number))
        del self.live[trial_id]

    def _complete(self, trial_id: str, result: dict[str, Any] | None) -> None:
        if result:
            self.on_trial_result(trial_id, result)
        trial = self.live[trial_id]
        state = ending_state(row_of(result) if result else None, stopped=self.order.stopped, spent=self.spent())
        if state == TrialState.RUNNING:
            self.order.add(frozen_trial(trial))
        else:
            self._end_trained(trial, state)
        del self.live[trial_id]

    def _decide_on_paused(self, may_begin: bool) -> None:
        """Resume, end or leave each trial that waits after a failure.

        Raises:
            MachineError: the machine fails every trial.
        """
        others = not self.order.finished(may_begin=may_begin, training=False)
        for number, frozen in list(self.paused.items()):
            verdict = self.retries.verdict(number, training=bool(self.live), others=others)
            reason = self.retries.streaks[number].fault.reason if number in self.retries.streaks else ""
            if verdict == Verdict.END:
                raise lasting_fault(self.run.trial_folder(number), number, reason)
            if verdict == Verdict.WAIT:
                continue
            del self.paused[number]
            if verdict == Verdict.RETRY:
                self.order.add(frozen)
            else:
                self._end(self.trials.open(frozen), TrialState.FAIL, f"{reason}; other trials had no such failure")

    def close(self) -> None:
        """End the trials that have finished unreported; the other trials that a budget has cut stay RUNNING.

        A resume continues them. Trials that they may clone then keep their full states.
        """
        for frozen in self.trials.running():
            trial = self.trials.open(frozen)
            rows = read_rows(self.run.trial_folder(trial.number))
            if rows and rows[-1].final:
                self._end_trained(trial, ending_state(rows[-1]))
        if not self.trials.running():
            for trial in self.donors.values():
                self.kept.clean_up(trial)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study is the state, and every report to it is saved."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a search is resumed by a new Tuner on the same study."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {}  # keeps the study, whose URL may hold a password, out of Tune's pickles

    def _next(self, may_begin: bool) -> optuna.Trial | None:
        """Open the trial that is next; end the trial that it replaces, if it is a new clone."""
        held = any(map(self.retries.holds, self.paused))
        if not (chosen := self.order.next(may_begin=may_begin, held=held)):
            return None
        if not chosen.trial:
            return self.trials.ask()
        if chosen.replaced:
            self._replace(chosen.replaced, chosen.trial)
        if (clone := clone_of(chosen.trial)) and clone.continues:
            self.kept.continuing.add(clone.trial)
            self.listener.continued(chosen.trial.number, clone.trial)
        return self.trials.resume(chosen.trial)

    def _replace(self, frozen: FrozenTrial, replacement: FrozenTrial) -> None:
        """End a trial that a clone replaces."""
        clone = clone_of(replacement)
        assert clone
        reason = f"replaced by a clone of trial {clone.trial} at round {clone.round}"
        self._end(self.trials.open(frozen), TrialState.PRUNED, reason, notify=False)

    def _started_config(self, trial: optuna.Trial) -> str:
        """Return a trial's config as JSON, from its directory if it was started before."""
        folder = self.run.trial_folder(trial.number)
        if folder.exists(TRIAL):
            with contextlib.suppress(InputError):  # a config that is missing or damaged is suggested again
                return read_config(folder).model_dump_json(indent=2)
        config = self.order.config(trial)
        if self.shape and not (shape := trial_shape(config, self.corpus)).matches(self.shape):
            raise InputError(
                f"{self.order.space.path}: {shape}, which do not compare with the search's {self.shape}. "
                "Give every config the same tasks, rounds and examples."
            )
        start_trial(folder, frozen_trial(trial), text := config.model_dump_json(indent=2))
        return text

    def _record(self, trial: optuna.Trial) -> Trial:
        folder = self.run.trial_folder(trial.number)
        clone = clone_of(frozen_trial(trial))
        return Trial(folder, trial.number, trial.params, {}, RUNNING, None, None, read_rows(folder), clone)

    def _end_trained(self, trial: optuna.Trial, state: TrialState) -> None:
        """End a trial with the reason that its rows give."""
        self._end(trial, state, ending_reason(state, read_rows(self.run.trial_folder(trial.number))))

    def _fail(self, trial: optuna.Trial, failure: TrialFailed) -> None:
        """End a trial because of a failure."""
        self._log(trial, failure)
        self._end(trial, TrialState.FAIL, failure.fault.reason)

    def _log(self, trial: optuna.Trial, failure: TrialFailed) -> None:
        folder = self.run.trial_folder(trial.number)
        rows = read_rows(folder)
        write_log(folder, failure, rows[-1].round if rows else 0)

    def _end(self, trial: optuna.Trial, state: TrialState, reason: str, *, notify: bool = True) -> None:
        """Write the end of a trial, then report it to the study; the next start repairs a crash between the two.

        Args:
            notify: whether to notify the listener; a trial that a clone replaces continues as that clone.
        """
        record = self._record(trial)
        self.trials.report(trial, record.rows)
        if not record.folder.exists(TRIAL):
            start_trial(record.folder, frozen_trial(trial), None)
        values = self._values(record, state)
        end_trial(record.folder, state, values, reason)
        if self.contributions:
            self.contributions.add(trial.number)
        self._tidy(replace(record, state=state.name, values=values))
        self.trials.end(trial, state, values)  # last: a trial that is RUNNING in the study is tidied at the next start
        self.retries.forget(trial.number)
        if notify:
            self.listener.ended(trial.number, state, reason)
        if trial.number % FREEZE_EVERY == 0:
            freeze_objects()

    def _values(self, trial: Trial, state: TrialState) -> list[float] | None:
        """Return the values of an ended trial: of its best round if it finished, of its last one if it was stopped."""
        if state == TrialState.COMPLETE and self.contributions:
            return [self.contributions.of(trial.number)]
        if state == TrialState.FAIL:
            return None
        rows = trial.rows
        if trial.clone and trial.clone.continues:  # its own rounds are only the last ones of its training
            donor = read_rows(self.run.trial_folder(trial.clone.trial))
            rows = [*(row for row in donor if row.round <= trial.clone.round), *rows]
        return (trial_values if state == TrialState.COMPLETE else last_round_values)(rows, self.run.objectives)

    def _tidy(self, trial: Trial) -> None:
        """Delete the files of an ended trial that are not needed; a donor's stay until the search ends."""
        if self.order.may_be_donor(trial):
            self.donors[trial.number] = trial
        else:
            with contextlib.suppress(InputError):  # a file that is not the project's lies in the way, and stays
                self.kept.clean_up(trial)
