"""A prepared run -> a finished search: Tune with our searcher, early stopping and budget."""

import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.budgets import Budget, Limits
from search.cloning import Population
from search.halving import BRACKETS, Halving
from search.objectives import rung_values
from search.population import POPULATION
from search.progress import Progress, comes_back
from search.runs import Run, Trial
from search.searcher import FAILURES, StudySearcher
from search.slots import Slots
from search.space import Checked, Shape
from search.trainable import SearchTrial, row_of


class RoundHalving(FIFOScheduler):
    """Successive halving on judged rounds. The rungs are read from the trials' rows, so they survive a restart."""

    def __init__(self, trials: Iterable[Trial], halving: Halving, objectives: Sequence[str]):
        """Fill the rungs from a run's trials, in the order in which their rounds ended."""
        super().__init__()
        self._metric = "score"
        self.halving, self.objectives = halving, objectives
        ended = [(row["ended"], trial.number, row) for trial in trials for row in trial.rows]
        for _, number, row in sorted(ended, key=lambda entry: entry[0]):
            self._enter(number, row)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept: the metric is fixed."""
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial that is not ahead enough at a rung; a round told again is judged as it was the first time."""
        number = trial.config["number"]
        self._enter(number, row_of(result))
        if result["last"] or result["score"] is None or self.halving.goes_on(number, result["judged"]):
            return TrialScheduler.CONTINUE
        return TrialScheduler.STOP

    def debug_string(self) -> str:
        """Say how full the rungs are."""
        return f"rungs: { {rung: len(seen) for rung, seen in self.halving.rungs.items()} }"

    def _enter(self, number: int, row: dict[str, Any]) -> None:
        if values := rung_values(row, self.objectives):
            self.halving.enter(number, row["judged"], values)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Turns(FIFOScheduler):
    """Take turns: a trial of a population leaves its slot after every judged round, and the searcher brings it back."""

    def __init__(self, trials: Iterable[Trial]):
        """Take a run's trials: who is brought back tells its last round again."""
        super().__init__()
        self.rounds = {trial.number: trial.rows[-1]["round"] for trial in trials if trial.rows}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop a trial after a new round that was judged."""
        number, known = trial.config["number"], self.rounds.get(trial.config["number"], 0)
        self.rounds[number] = result["round"]
        goes_on = result["score"] is None or result["last"] or result["round"] <= known
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP


class Forgive(tune.Callback):
    """Count a trial's failures from its last new round on: lost nodes do not use a trial up."""

    def __init__(self) -> None:
        """Start without rounds."""
        self.rounds: dict[int, int] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Forget earlier failures when a round is new; one that is told again after a failure is not."""
        number = trial.config["number"]
        if result["round"] > self.rounds.get(number, 0):
            self.rounds[number] = result["round"]
            trial.run_metadata.num_failures = 0


class Endings(tune.Callback):
    """Tell the budget of trials that have ended."""

    def __init__(self, budget: Budget, turns: bool):
        """Take what counts them, and whether trials take turns, so that one that is stopped comes back."""
        self.budget, self.turns = budget, turns

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a trial that finished or was stopped."""
        if not (self.turns and comes_back(trial.last_result)):
            self.budget.end(trial.config["number"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a trial that was given up."""
        self.budget.end(trial.config["number"])


class Interruption(tune.Callback):
    """Leave Tune between two of its steps, of which it makes about ten a second.

    An exception that a signal throws into the middle of one may be swallowed, or be told as somebody's bug.
    """

    def __init__(self) -> None:
        """Start without a signal."""
        self.asked = False

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Leave, if a signal has come."""
        self.leave()

    def leave(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM, in place of what they would do."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


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
