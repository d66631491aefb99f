"""The searches that `efficiency` compares: ours, and others that run their own code under their own defaults."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.surface import GRID, ROUNDS
from search.suggest.samplers import SAMPLERS
from search.tune.halving import BRACKETS, Halving
from trainers.seeds import seed_of

CONTROLLER: Any = None
"""Tune's, which its scheduler does not use."""

Point = tuple[Any, ...]
"""A value of each parameter of the grid."""


class Search(Protocol):
    """What is asked for points and told of their rounds."""

    def suggest(self, number: int) -> Point:
        """Return the point of the trial of this number, the first is 0."""
        ...

    def told(self, number: int, round: int, score: float) -> bool:
        """Hear of a round, the first is 1; return whether the trial goes on. None does after the last."""
        ...


def suggest(trial: optuna.trial.BaseTrial) -> Point:
    """Choose a point of the grid, the learning rate by its place in their order."""
    place = trial.suggest_int("learning_rate", 0, len(GRID["learning_rate"]) - 1)
    others = (trial.suggest_categorical(name, values) for name, values in GRID.items() if name != "learning_rate")
    return GRID["learning_rate"][place], *others


class Ours:
    """The product's sampler and early stopping, as its searcher calls them."""

    def __init__(self, seed: int, sampler: str = "tpe", bracket: str = "asha"):
        """Start a study in memory."""
        self.seed, self.sampler = seed, SAMPLERS[sampler]
        self.study = optuna.create_study(direction="maximize")
        self.halving = Halving(ROUNDS, BRACKETS[bracket])
        self.trials: dict[int, optuna.Trial] = {}

    def suggest(self, number: int) -> Point:
        """Ask the study, with a sampler for this trial."""
        self.study.sampler = self.sampler(seed_of(self.seed, number, "sampler") % 2**32)
        self.trials[number] = self.study.ask()
        return suggest(self.trials[number])

    def told(self, number: int, round: int, score: float) -> bool:
        """Report the round, and end the trial as the searcher does: with its best score, or as pruned."""
        trial = self.trials[number]
        trial.report(score, round)
        self.halving.enter(number, round, (score,))
        if round == ROUNDS:
            known = trial.storage.get_trial(trial._trial_id)
            self.study.tell(trial, max(known.intermediate_values.values()))
        elif not self.halving.continues(number, round):
            self.study.tell(trial, state=TrialState.PRUNED)
        return trial.storage.get_trial(trial._trial_id).state == TrialState.RUNNING


class Random:
    """Random search: all trials run to their ends."""

    def __init__(self, seed: int):
        """Start a study in memory."""
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))

    def suggest(self, number: int) -> Point:
        """Draw a point."""
        return suggest(self.study.ask())

    def told(self, number: int, round: int, score: float) -> bool:
        """Stop nothing early."""
        return round < ROUNDS


class Asha:
    """Ray's ASHAScheduler, as it ships; it needs of a trial its id alone."""

    def __init__(self) -> None:
        """Take its defaults, but the number of rounds."""
        self.scheduler = ASHAScheduler(metric="score", mode="max", max_t=ROUNDS)

    def enter(self, number: int) -> None:
        """Announce a trial."""
        self.scheduler.on_trial_add(CONTROLLER, _named(number))

    def continues(self, number: int, round: int, score: float) -> bool:
        """Tell it of a round."""
        result = {"score": score, "training_iteration": round}
        if round == ROUNDS:
            self.scheduler.on_trial_complete(CONTROLLER, _named(number), result)
            return False
        return self.scheduler.on_trial_result(CONTROLLER, _named(number), result) != TrialScheduler.STOP


class RandomAsha(Random):
    """Random points under Ray's ASHAScheduler."""

    def __init__(self, seed: int):
        """Start both."""
        super().__init__(seed)
        self.asha = Asha()

    def suggest(self, number: int) -> Point:
        """Draw a point."""
        self.asha.enter(number)
        return super().suggest(number)

    def told(self, number: int, round: int, score: float) -> bool:
        """Ask the scheduler."""
        return self.asha.continues(number, round, score)


class RayOptuna:
    """Ray's OptunaSearch and ASHAScheduler, told of results as Tune tells them."""

    def __init__(self, seed: int):
        """Start both, as they ship."""
        self.searcher = OptunaSearch(space=_declared, metric="score", mode="max", seed=seed)
        self.asha = Asha()

    def suggest(self, number: int) -> Point:
        """Ask the searcher."""
        params = self.searcher.suggest(str(number))
        self.asha.enter(number)
        assert params
        return suggest(optuna.trial.FixedTrial(params))

    def told(self, number: int, round: int, score: float) -> bool:
        """Ask the scheduler; a trial that it stops has completed for the searcher."""
        result = {"score": score, "training_iteration": round}
        if self.asha.continues(number, round, score):
            self.searcher.on_trial_result(str(number), result)
            return True
        self.searcher.on_trial_complete(str(number), result)
        return False


class OptunaHyperband:
    """Optuna alone: its default sampler, and its Hyperband pruner."""

    def __init__(self, seed: int):
        """Start a study; its name decides which trial is in which bracket."""
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=ROUNDS)
        sampler = optuna.samplers.TPESampler(seed=seed)
        self.study = optuna.create_study(study_name=str(seed), direction="maximize", sampler=sampler, pruner=pruner)
        self.trials: dict[int, optuna.Trial] = {}

    def suggest(self, number: int) -> Point:
        """Ask the study."""
        self.trials[number] = self.study.ask()
        return suggest(self.trials[number])

    def told(self, number: int, round: int, score: float) -> bool:
        """Report the round, and ask the pruner."""
        trial = self.trials[number]
        trial.report(score, round)
        if round == ROUNDS:
            self.study.tell(trial, score)
        elif trial.should_prune():
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            return True
        return False


SEARCHES: dict[str, Callable[[int], Search]] = {
    "ours": Ours,
    "ours, hyperband": partial(Ours, bracket="hyperband"),
    "ours, gp": partial(Ours, sampler="gp"),
    "random": Random,
    "random + ASHA": RandomAsha,
    "OptunaSearch + ASHA": RayOptuna,
    "Optuna's Hyperband": OptunaHyperband,
}
"""Seed -> a search. The first is what is compared with the others."""


def _named(number: int) -> Any:
    return SimpleNamespace(trial_id=str(number))


def _declared(trial: optuna.trial.BaseTrial) -> None:
    suggest(trial)
