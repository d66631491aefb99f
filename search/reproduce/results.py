"""A run of recipes -> what every recipe reached on dev under each seed: one training, a group's, or an ensemble's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from search.runs.run import Run
from search.runs.trial_record import Trial
from search.selection.candidates import Candidate, gather
from search.selection.strategies import STRATEGIES
from trainers.config.train_config import TrainConfig
from trainers.evaluation.scores import plain_mean, score
from trainers.recipes.registry import configs, recipe
from trainers.recipes.systems import EnsembleOf, Group
from trainers.seeds import numpy_generator, seed_of
from trainers.tasks import TASKS


@dataclass(frozen=True)
class Result:
    """What a recipe reached under one seed."""

    metrics: dict[str, float]
    """Task -> accuracy or r on the dev rows; without those of trainings that failed."""
    tasks: tuple[str, ...]
    """All that the recipe is scored on."""
    trials: tuple[Trial, ...]
    """What was trained for it."""

    @property
    def means(self) -> dict[str, float]:
        """The overall score and the plain mean; none where a task is missing."""
        if set(self.metrics) < set(self.tasks):
            return {}
        return {"overall": float(score(self.metrics, TASKS)), "plain": float(plain_mean(self.metrics))}

    @property
    def seconds(self) -> float | None:
        """Seconds of training for 1,000 examples."""
        rows = [row for trial in self.trials for row in trial.rows]
        examples = sum(trial.rows[-1]["examples"] for trial in self.trials if trial.rows)
        return 1000 * sum(row["train_seconds"] for row in rows) / examples if examples else None


def results(run: Run) -> dict[str, list[Result]]:
    """Return the results of every recipe that a run was made for, seed by seed."""
    search, trained_as = run.search, run.search["trained_as"]
    trials = {(trial.params["recipe"], trial.params["seed"]): trial for trial in run.trials()}
    seeds = range(search["seed"], search["seed"] + search["seeds"])
    found: dict[str, list[Result]] = {name: [] for name in search["recipes"]}
    for seed in seeds:
        own = {name: trials[first, seed] for name, first in trained_as.items() if (first, seed) in trials}
        for name in found:
            found[name].append(_result(run, name, own, seed))
    return found


def finished(trial: Trial) -> bool:
    """Whether a training has figures: those of one that failed on the way are not taken."""
    return trial.state == "COMPLETE" and bool(trial.judged)


def failures(run: Run) -> list[str]:
    """Say which trainings have no figures, and why."""
    return [
        f"{trial.params['recipe']}, seed {trial.params['seed']}: "
        + (f"{trial.reason}." if trial.state != "COMPLETE" else "it was too short to train all its tasks.")
        for trial in run.trials()
        if not finished(trial)
    ]


def _result(run: Run, name: str, trials: Mapping[str, Trial], seed: int) -> Result:
    """Return what a recipe reached.

    Args:
        trials: name of a training -> its trial under this seed.
    """
    of = {part: trials[part] for part in configs(name) if part in trials}
    done = {part: trial for part, trial in of.items() if finished(trial)}
    match recipe(name):
        case TrainConfig() as config:
            tasks, metrics = config.tasks, done[name].best_row["metrics"] if done else {}
        case Group(members):
            tasks = tuple(members)
            found = {task: done[f"{name}/{task}"] for task in members if f"{name}/{task}" in done}
            metrics = {task: trial.best_row["metrics"][task] for task, trial in found.items()}
        case EnsembleOf(_, strategy):
            tasks = tuple(dict.fromkeys(task for config in configs(name).values() for task in config.tasks))
            members = {trial.number: trial for trial in done.values()}.values()  # one may have two names
            found = {task: _joined(run, members, task, strategy, seed) for task in tasks}
            metrics = {task: figure for task, figure in found.items() if figure is not None}
    return Result(metrics, tasks, tuple({trial.number: trial for trial in of.values()}.values()))


def _joined(run: Run, trials: Iterable[Trial], task: str, strategy: str, seed: int) -> float | None:
    """Return what an ensemble of trials reaches, each with its best round for the task; None without any."""
    rounds = {
        Candidate(run.folder.uri, trial.number, _best_round(trial, task)): trial.folder
        for trial in trials
        if task in trial.rows[-1]["metrics"]
    }
    if not rounds:
        return None
    library = gather([run], rounds, task, run.tasks[task].kind).library
    selection = STRATEGIES[strategy](library, numpy_generator(seed_of(seed, "ensemble", task), "select", strategy))
    return float(library.metric(selection.combine(library.predictions)))


def _best_round(trial: Trial, task: str) -> int:
    return max((row for row in trial.rows if task in row["metrics"]), key=lambda row: row["metrics"][task])["round"]
