"""A prepared run -> a finished search: Tune with our searcher, early stopping and budget."""

import tempfile
from collections.abc import Mapping
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.runs.run import Run
from search.runs.trial_record import Trial
from search.suggest.space import Checked, Shape
from search.tune.budgets import Budget, Limits
from search.tune.exploit_explore import POPULATION
from search.tune.halving import BRACKETS, Halving
from search.tune.population import Population
from search.tune.progress import Progress
from search.tune.searcher import FAILURES, StudySearcher
from search.tune.slots import Slots
from search.tune.trainable import SearchTrial
from search.tune.tune_callbacks import Endings, Forgive, Interruption
from search.tune.tune_schedulers import RoundHalving, Turns


def search(
    run: Run,
    study: optuna.Study,
    checked: Checked,
    slots: Slots,
    *,
    trials: int,
    limits: Limits = Limits(),
    names: Mapping[int, str] | None = None,
) -> str | None:
    """Train until the trials are used up or another budget is; Ray must have been started.

    Args:
        checked: what is trained; trials without a common shape run to their ends.
        names: number -> what a trial is called while it runs, where its number says too little.

    Returns:
        Which budget has ended it; None if all trials were trained.

    Raises:
        KeyboardInterrupt: on the first signal, at once. The open rounds are trained again on resume.
    """
    before, shape, interruption = run.trials(), checked.shape, Interruption()
    budget, population = Budget(limits, before, slots.gpus), _population(run, study, checked)
    turns = population is not None
    progress = Progress(
        trials, shape and shape.rounds, before, budget, names or {}, objectives=run.objectives, turns=turns
    )
    searcher = StudySearcher(study, run, checked.space, shape, trials=trials, spent=budget.spent, population=population)
    budget.start()
    try:
        with tempfile.TemporaryDirectory(prefix="tune-") as scratch, interruption.listening():
            tune.Tuner(
                _trainable(run, slots),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=_trial_scheduler(run, shape, before),
                    num_samples=-1,  # the searcher says when it is enough
                    max_concurrent_trials=slots.count,
                    reuse_actors=True,
                ),
                run_config=_run_config(scratch, budget, [interruption, Forgive(), Endings(budget, turns), progress]),
            ).fit()
        interruption.leave()
        searcher.close()
    finally:
        progress.close()
    return budget.over


def _population(run: Run, study: optuna.Study, checked: Checked) -> Population | None:
    """Return who replaces whom, if the trials are a population."""
    if checked.shape is None or run.search["trial_scheduler"] != POPULATION:
        return None
    return Population(run, study, checked.space, checked.shape)


def _trial_scheduler(run: Run, shape: Shape | None, trials: list[Trial]) -> TrialScheduler:
    """Return who stops trials early; `trials` are those of the run."""
    name = run.search["trial_scheduler"]
    if shape is None or name == "none":
        return FIFOScheduler()
    if name == POPULATION:
        return Turns(trials)
    return RoundHalving(trials, Halving(shape.rounds, BRACKETS[name]), run.objectives)


def _trainable(run: Run, slots: Slots) -> Any:
    """Return what trains a trial in a worker."""
    shared = {"run": run.folder.uri, "threads": slots.threads, "device": slots.device, "memory": slots.memory}
    trainable = tune.with_parameters(SearchTrial, **shared, dev_rows=run.search["dev_rows"])
    return tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus})


def _run_config(scratch: str, budget: Budget, callbacks: list[tune.Callback]) -> tune.RunConfig:
    """Return how Tune runs: its own files are scratch, nothing is read from them, and they go when it ends."""
    return tune.RunConfig(
        name="tune",
        storage_path=scratch,
        verbose=0,
        stop=budget.cuts,  # at a round's end: a Stopper that stops all would skip every trial's ending
        callbacks=callbacks,
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        failure_config=tune.FailureConfig(max_failures=FAILURES - 1),
    )
