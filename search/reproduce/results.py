"""Compute each recipe's dev metrics under each seed, from the trials of a reproduction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from search.ensemble.members import Ensemble, Member, members_of
from search.runs.kept_checkpoints import best_rounds
from search.runs.run import Run
from search.runs.trial_record import Trial, is_training, training_name
from search.selection.candidates import Candidate, read_candidates
from search.selection.strategies import STRATEGIES
from trainers.config.train_config import TrainConfig
from trainers.evaluation.scores import plain_mean, score
from trainers.recipes.registry import configs, recipe
from trainers.recipes.systems import EnsembleOf, Group
from trainers.seeds import numpy_generator, seed_of
from trainers.tasks import TASKS


@dataclass(frozen=True)
class Result:
    """The dev metrics of a recipe under one seed."""

    metrics: dict[str, float]
    """Task -> accuracy or Pearson's r on the dev rows; without tasks whose training failed."""
    tasks: tuple[str, ...]
    """All tasks that the recipe is scored on."""
    trials: tuple[Trial, ...]
    """The trials that the recipe needs."""
    ensemble: Ensemble | None = None
    """The members of an ensemble whose trainings have all finished; None for other recipes."""

    @property
    def means(self) -> dict[str, float]:
        """The overall score and the plain mean; empty if a task has no metric."""
        if set(self.metrics) < set(self.tasks):
            return {}
        return {"overall": float(score(self.metrics, TASKS)), "plain": float(plain_mean(self.metrics))}

    @property
    def seconds(self) -> float | None:
        """Training time in seconds per 1,000 examples; None without a finished round."""
        rows = [row for trial in self.trials for row in trial.rows]
        examples = sum(trial.rows[-1].examples for trial in self.trials if trial.rows)
        return 1000 * sum(row.train_seconds for row in rows) / examples if examples else None


def results(run: Run) -> dict[str, list[Result]]:
    """Return the results of each recipe of a run, in the order of the seeds."""
    own, first_seed = run.reproduction, run.search.seed
    trials = {(trial.params["recipe"], trial.params["seed"]): trial for trial in run.trials() if is_training(trial)}
    seeds = range(first_seed, first_seed + own.seeds)
    found: dict[str, list[Result]] = {name: [] for name in own.recipes}
    for seed in seeds:
        trained = {name: trials[first, seed] for name, first in own.trained_as.items() if (first, seed) in trials}
        for name in found:
            found[name].append(_result(run, name, trained, seed))
    return found


def finished(trial: Trial) -> bool:
    """Return whether a training counts: it has ended without failing and has a score."""
    return trial.state == "COMPLETE" and bool(trial.scores)


def failures(run: Run) -> list[str]:
    """Return a sentence for each training that has no metrics, with the reason."""
    return [f"{training_name(trial)}: {_fault(trial)}." for trial in run.trials() if not finished(trial)]


def _fault(trial: Trial) -> str:
    if trial.state == "COMPLETE":
        return "it was too short to train all of its tasks"
    return trial.reason or "it is unfinished"


def _result(run: Run, name: str, trials: Mapping[str, Trial], seed: int) -> Result:
    """Return the result of a recipe under one seed.

    Args:
        trials: name of a training -> its trial under this seed.
    """
    needed = {part: trials[part] for part in configs(name) if part in trials}
    done = {part: trial for part, trial in needed.items() if finished(trial)}
    ensemble = None
    match recipe(name):
        case TrainConfig() as config:
            tasks, metrics = config.tasks, done[name].best_row.metrics if done else {}
        case Group(members):
            tasks = tuple(members)
            found = {task: done[f"{name}/{task}"] for task in members if f"{name}/{task}" in done}
            metrics = {task: trial.best_row.metrics[task] for task, trial in found.items()}
        case EnsembleOf(_, strategy):
            tasks = tuple(dict.fromkeys(task for config in configs(name).values() for task in config.tasks))
            members = {trial.number: trial for trial in done.values()}.values()  # two members may be the same trial
            chosen = {task: _choose(run, members, task, strategy, seed) for task in tasks}
            metrics = {task: found.metric for task, found in chosen.items() if found}
            ensemble = _ensemble(strategy, chosen) if done.keys() == configs(name).keys() else None
    return Result(metrics, tasks, tuple({trial.number: trial for trial in needed.values()}.values()), ensemble)


@dataclass(frozen=True)
class _TaskEnsemble:
    """An ensemble of one task, and its dev metric."""

    metric: float
    rule: str
    members: list[Member]


def _choose(run: Run, trials: Iterable[Trial], task: str, strategy: str, seed: int) -> _TaskEnsemble | None:
    """Choose an ensemble of a task from trials, each with its best round for the task; None without trials."""
    best = {trial.number: (trial.folder, best_rounds(trial)) for trial in trials}
    rounds = {
        Candidate(run.folder.uri, number, found[task]): folder
        for number, (folder, found) in best.items()
        if task in found
    }
    if not rounds:
        return None
    candidates = read_candidates([run], rounds, run.tasks[task])
    library = candidates.library
    selection = STRATEGIES[strategy](library, numpy_generator(seed_of(seed, "ensemble", task), "select", strategy))
    metric = float(library.metric(selection.combine(library.predictions)))
    return _TaskEnsemble(metric, selection.rule, members_of(candidates.names, selection))


def _ensemble(strategy: str, chosen: Mapping[str, _TaskEnsemble | None]) -> Ensemble:
    found = {task: ensemble for task, ensemble in chosen.items() if ensemble}
    return Ensemble(
        strategy,
        {task: ensemble.rule for task, ensemble in found.items()},
        {task: ensemble.members for task, ensemble in found.items()},
    )
