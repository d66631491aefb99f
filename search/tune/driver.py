"""Run a search on Ray Tune: the study's searcher, early stopping and budgets."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState
from ray import tune
from ray.exceptions import RayError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.runs.arrivals import Arrivals
from search.runs.run import Run
from search.suggest.space import CheckedSpace, TrialShape
from search.tune.budgets import Budget, Limits
from search.tune.exploit_explore import POPULATION
from search.tune.halving import BRACKETS, Halving
from search.tune.population import Population
from search.tune.progress import Progress
from search.tune.searcher import StudySearcher
from search.tune.slots import Slots
from search.tune.trainable import SearchTrial
from search.tune.trials.continuations import ContinuingQueue
from search.tune.trials.failures import failure_of
from search.tune.trials.order import TrialOrder, TrialQueue
from search.tune.tune_callbacks import LeaveOnSignal, RecordArrivals, TrialErrors
from search.tune.tune_schedulers import HalvingScheduler, PopulationScheduler
from trainers.interruption import deferred, leave_if_received


def search(
    run: Run,
    study: optuna.Study,
    checked: CheckedSpace,
    slots: Slots,
    *,
    trials: int | None,
    limits: Limits = Limits(),
    names: Mapping[int, str] | None = None,
) -> str | None:
    """Train until all trials have ended or a budget is used up; Ray must have been started.

    Args:
        checked: the space; if its configs have no common shape, no trial is stopped early.
        trials: the number of trials, earlier sessions included; None for no limit.
        names: number -> a name for the trial in the progress lines.

    Returns:
        The reason why a budget ended the search; None if all trials have ended.

    Raises:
        KeyboardInterrupt: on the first signal, at once. A resume trains the unfinished rounds again.
        MachineError: the machine has failed several times in a row, and no trial trained meanwhile.
    """
    before, shape = run.trials(), checked.shape
    arrivals, errors = Arrivals(run.folder, before), TrialErrors()
    budget = Budget(limits, arrivals.trials_by_last_round(), slots.gpus)
    rounds, folder = shape and shape.rounds, run.trial_folder
    progress = Progress(trials, rounds, before, budget, names or {}, run.objectives, folder=folder)
    searcher = StudySearcher(
        study,
        run,
        trial_order(run, study, checked, budget.remaining),
        shape,
        trials=trials,
        spent=lambda: leave_if_received() or budget.spent(),
        error_of=errors.of,
        listener=_Listeners(budget, progress),
    )
    budget.start()
    with closing(progress):
        # Errors are ignored: after an interruption a worker may still write while the directory is deleted.
        with tempfile.TemporaryDirectory(prefix="tune-", ignore_cleanup_errors=True) as scratch, deferred():
            settings = _run_config(scratch, budget, [LeaveOnSignal(), RecordArrivals(arrivals), errors, progress])
            _fit(run, searcher, slots, shape, settings)
        leave_if_received()
        searcher.close()
    progress.summarise()
    return budget.reason


@dataclass(frozen=True)
class _Listeners:
    """Notify the budget and the progress."""

    budget: Budget
    progress: Progress

    def ended(self, number: int, state: TrialState, reason: str) -> None:
        self.budget.add_ended(number)
        self.progress.ended(number, state, reason)

    def continued(self, number: int, stopped: int) -> None:
        self.progress.continued(number, stopped)

    def paused(self, number: int, reason: str, seconds: float) -> None:
        self.progress.paused(number, reason, seconds)


def _fit(run: Run, searcher: StudySearcher, slots: Slots, shape: TrialShape | None, settings: tune.RunConfig) -> None:
    """Let Tune train; start Tune again if it gave up on an error of Ray that belongs to no trial, such as no memory."""
    config = _tune_config(searcher, _trial_scheduler(run, shape, Arrivals(run.folder, run.trials())), slots)
    try:
        tune.Tuner(_trainable(run, slots), tune_config=config, run_config=settings).fit()
    except Exception as error:
        if searcher.fault:
            raise searcher.fault from None
        if not isinstance(error.__cause__, RayError) or not searcher.live:
            raise
        for trial_id in list(searcher.live):
            searcher.fail(trial_id, failure_of(error.__cause__))
        _fit(run, searcher, slots, shape, settings)


def trial_order(
    run: Run, study: optuna.Study, checked: CheckedSpace, remaining: Callable[[], float | None] = lambda: None
) -> TrialOrder:
    """Return the order in which the trials of a run are trained. The trials of a population have a common shape.

    Args:
        remaining: returns the seconds that are left of the time budget; None without one.
    """
    if checked.shape is not None and run.search.trial_scheduler == POPULATION:
        return Population(run, study, checked.space, checked.shape)
    if checked.shape is not None and run.search.stops_early:
        return ContinuingQueue(checked.space, run, study, checked.shape.rounds, remaining)
    return TrialQueue(checked.space)


def _trial_scheduler(run: Run, shape: TrialShape | None, arrivals: Arrivals) -> TrialScheduler:
    """Return the trial scheduler of a run; it starts from the rounds of earlier sessions."""
    name = run.search.trial_scheduler
    if shape is None or name == "none":
        return FIFOScheduler()
    if name == POPULATION:
        return PopulationScheduler(arrivals.trials)
    clones = {trial.number for trial in arrivals.trials if trial.clone}  # they continue to their ends
    rounds = [(number, row) for number, row in arrivals.rounds() if number not in clones]
    return HalvingScheduler(rounds, Halving(shape.rounds, BRACKETS[name]), run.objectives)


def _trainable(run: Run, slots: Slots) -> Any:
    """Return the trainable that trains one trial in a worker, with the resources of a slot."""
    shared = {"run": run.folder.uri, "threads": slots.threads, "device": slots.device, "memory": slots.memory}
    trainable = tune.with_parameters(SearchTrial, **shared, dev_rows=run.search.dev_rows, keep=run.keep)
    return tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus})


def _tune_config(searcher: StudySearcher, scheduler: TrialScheduler, slots: Slots) -> tune.TuneConfig:
    """Return Tune's settings of the search itself."""
    return tune.TuneConfig(
        search_alg=searcher,
        scheduler=scheduler,
        num_samples=-1,  # the searcher ends the search
        max_concurrent_trials=slots.count,
        reuse_actors=True,
    )


def _run_config(scratch: str, budget: Budget, callbacks: list[tune.Callback]) -> tune.RunConfig:
    """Return Tune's settings of a run. Tune's own files go to `scratch`; the project never reads them."""
    return tune.RunConfig(
        name="tune",
        storage_path=scratch,
        verbose=0,
        stop=budget.stops,  # called after each round: a Stopper that stops all trials at once would skip their endings
        callbacks=callbacks,
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        failure_config=tune.FailureConfig(max_failures=0),  # the searcher decides whether a trial is trained again
    )
