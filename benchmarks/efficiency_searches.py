"""The searches that `efficiency` compares: ours, and others that run their own code with their own defaults."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.surface import GRID, ROUNDS
from search.suggest.optuna_internals import frozen_trial
from search.suggest.samplers import SAMPLERS
from search.tune.halving import BRACKETS, Halving
from trainers.seeds import seed_of

CONTROLLER: Any = None
"""Argument of Tune's trial schedulers that ASHA does not use."""

Point = tuple[Any, ...]
"""One value per parameter of the grid."""


class Search(Protocol):
    """A search that suggests points and receives the scores of their rounds."""

    def suggest(self, number: int) -> Point:
        """Return the point of trial `number`; the first trial is 0."""
        ...

    def report(self, number: int, round: int, score: float) -> bool:
        """Receive the score of a round; return whether the trial continues.

        The first round is 1; no trial continues after the last round.
        """
        ...


def suggest(trial: optuna.trial.BaseTrial) -> Point:
    """Suggest a point of the grid; the learning rate is suggested as an index into the sorted values."""
    place = trial.suggest_int("learning_rate", 0, len(GRID["learning_rate"]) - 1)
    others = (trial.suggest_categorical(name, values) for name, values in GRID.items() if name != "learning_rate")
    return GRID["learning_rate"][place], *others


class Ours:
    """Our sampler and early stopping, called as our searcher calls them."""

    def __init__(self, seed: int, sampler: str = "tpe", bracket: str = "asha"):
        """Create a study in memory."""
        self.seed, self.sampler = seed, SAMPLERS[sampler]
        self.study = optuna.create_study(direction="maximize")
        self.halving = Halving(ROUNDS, BRACKETS[bracket])
        self.trials: dict[int, optuna.Trial] = {}

    def suggest(self, number: int) -> Point:
        """Ask the study, with the sampler of this trial."""
        self.study.sampler = self.sampler(seed_of(self.seed, number, "sampler") % 2**32)
        self.trials[number] = self.study.ask()
        return suggest(self.trials[number])

    def report(self, number: int, round: int, score: float) -> bool:
        """Report the round; end the trial as our searcher does, as complete with its best score or as pruned."""
        trial = self.trials[number]
        trial.report(score, round)
        self.halving.enter(number, round, (score,))
        if round == ROUNDS:
            known = frozen_trial(trial)
            self.study.tell(trial, max(known.intermediate_values.values()))
        elif not self.halving.continues(number, round):
            self.study.tell(trial, state=TrialState.PRUNED)
        return frozen_trial(trial).state == TrialState.RUNNING


class Random:
    """Random search without early stopping."""

    def __init__(self, seed: int):
        """Create a study in memory."""
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed))

    def suggest(self, number: int) -> Point:
        """Draw a random point."""
        return suggest(self.study.ask())

    def report(self, number: int, round: int, score: float) -> bool:
        """Continue until the last round."""
        return round < ROUNDS


class Asha:
    """Ray's ASHAScheduler, which needs only the id of a trial."""

    def __init__(self) -> None:
        """Use the defaults, except for the number of rounds."""
        self.scheduler = ASHAScheduler(metric="score", mode="max", max_t=ROUNDS)

    def enter(self, number: int) -> None:
        """Add a trial."""
        self.scheduler.on_trial_add(CONTROLLER, _named(number))

    def continues(self, number: int, round: int, score: float) -> bool:
        """Report a round; return whether the trial continues."""
        result = {"score": score, "training_iteration": round}
        if round == ROUNDS:
            self.scheduler.on_trial_complete(CONTROLLER, _named(number), result)
            return False
        return self.scheduler.on_trial_result(CONTROLLER, _named(number), result) != TrialScheduler.STOP


class RandomAsha(Random):
    """Random search with Ray's ASHAScheduler."""

    def __init__(self, seed: int):
        """Create the study and the scheduler."""
        super().__init__(seed)
        self.asha = Asha()

    def suggest(self, number: int) -> Point:
        """Draw a random point."""
        self.asha.enter(number)
        return super().suggest(number)

    def report(self, number: int, round: int, score: float) -> bool:
        """Report the round to the scheduler."""
        return self.asha.continues(number, round, score)


class RayOptuna:
    """Ray's OptunaSearch and ASHAScheduler, which receive results as Tune reports them."""

    def __init__(self, seed: int):
        """Create both with their defaults."""
        self.searcher = OptunaSearch(space=_declared, metric="score", mode="max", seed=seed)
        self.asha = Asha()

    def suggest(self, number: int) -> Point:
        """Ask the searcher for a point."""
        params = self.searcher.suggest(str(number))
        self.asha.enter(number)
        assert params
        return suggest(optuna.trial.FixedTrial(params))

    def report(self, number: int, round: int, score: float) -> bool:
        """Report the round to both; a trial that the scheduler stops is complete for the searcher, as in Tune."""
        result = {"score": score, "training_iteration": round}
        if self.asha.continues(number, round, score):
            self.searcher.on_trial_result(str(number), result)
            return True
        self.searcher.on_trial_complete(str(number), result)
        return False


class OptunaHyperband:
    """Optuna with its default sampler and its Hyperband pruner."""

    def __init__(self, seed: int):
        """Create a study; Optuna assigns trials to brackets by its name."""
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=ROUNDS)
        sampler = optuna.samplers.TPESampler(seed=seed)
        self.study = optuna.create_study(study_name=str(seed), direction="maximize", sampler=sampler, pruner=pruner)
        self.trials: dict[int, optuna.Trial] = {}

    def suggest(self, number: int) -> Point:
        """Ask the study for a point."""
        self.trials[number] = self.study.ask()
        return suggest(self.trials[number])

    def report(self, number: int, round: int, score: float) -> bool:
        """Report the round and ask the pruner."""
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
"""Name -> function that creates the search from a seed. The others are compared with the first search."""


def _named(number: int) -> Any:
    return SimpleNamespace(trial_id=str(number))


def _declared(trial: optuna.trial.BaseTrial) -> None:
    suggest(trial)
