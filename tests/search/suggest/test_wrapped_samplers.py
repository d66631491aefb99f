"""Test the samplers that wrap another sampler: they avoid repeated points, or show it further trials."""

import itertools
from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler

from search.suggest.samplers import SAMPLERS
from search.suggest.wrapped_samplers import DeduplicatingSampler, HistorySampler

LEARNING = ["tpe", "gp", "cmaes"]
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def grid(trial: optuna.trial.BaseTrial) -> float:
    """Draw one of 16 points; return its value, which is largest at (3, 3)."""
    return float(trial.suggest_int("x", 0, 3) + trial.suggest_int("y", 0, 3))


def branches(trial: optuna.trial.BaseTrial) -> float:
    """Draw a choice, and a number that only one branch of the choice has."""
    if trial.suggest_categorical("more", [True, False]):
        return float(trial.suggest_int("z", 0, 20))
    return 30.0


def searched(name: str, space: Callable[[optuna.trial.BaseTrial], float], trials: int) -> list[dict]:
    """Return the parameters of a search's trials."""
    study = optuna.create_study(direction="maximize")
    for number in range(trials):
        study.sampler = SAMPLERS[name](number)
        trial = study.ask()
        study.tell(trial, space(trial))
    return [trial.params for trial in study.trials]


def repeated(params: list[dict]) -> int:
    """Count the trials whose parameters an earlier trial has."""
    return sum(drawn in params[:number] for number, drawn in enumerate(params))


@pytest.mark.parametrize("name", LEARNING)
def test_points_of_a_small_grid_are_rarely_repeated(name: str):
    # The first draws of a search are random and independent, so they may repeat.
    params = searched(name, grid, 20)
    assert repeated(params[:15]) <= repeated(params[:10]) + 1
    assert len({tuple(drawn.values()) for drawn in params}) >= 14


def test_a_search_continues_after_all_points_have_been_trained():
    assert len(searched("tpe", grid, 40)) == 40


def test_a_branch_with_one_point_is_rarely_repeated():
    params = searched("tpe", branches, 20)
    assert sum(not drawn["more"] for drawn in params[10:]) <= 1, "one trial covers the whole branch"


def test_points_of_warm_start_trials_may_be_drawn_again():
    known = optuna.create_study(direction="maximize")
    for point in itertools.product(range(4), repeat=2):
        known.enqueue_trial(dict(zip("xy", point, strict=True)))
        trial = known.ask()
        known.tell(trial, grid(trial))
    before = known.get_trials()
    for frozen in before:
        frozen.number -= len(before)

    def drawn(sampler: BaseSampler) -> dict:
        shown = HistorySampler(sampler, lambda study: [*before, *study.get_trials(deepcopy=False)])
        trial = optuna.create_study(direction="maximize", sampler=shown).ask()
        grid(trial)
        return trial.params

    for seed in range(5):
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        assert drawn(DeduplicatingSampler(sampler, seed)) == drawn(
            optuna.samplers.TPESampler(seed=seed, multivariate=True)
        )


def test_draws_from_a_continuous_range_equal_those_of_the_wrapped_sampler():
    study = optuna.create_study(direction="maximize")
    for _ in range(15):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
    draws = []
    for wrap in (lambda sampler: sampler, lambda sampler: DeduplicatingSampler(sampler, 0, redraws=10)):
        copy = optuna.create_study(direction="maximize", sampler=wrap(optuna.samplers.TPESampler(seed=1)))
        copy.add_trials(study.trials)
        draws.append(copy.ask().suggest_float("x", 0, 1))
    assert draws[0] == draws[1]


MAKERS: dict[str, Callable[[], BaseSampler]] = {
    "tpe": lambda: TPESampler(seed=0),
    "random": lambda: RandomSampler(seed=0),
    "cmaes": lambda: CmaEsSampler(seed=0, n_startup_trials=1),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_sampler_that_is_wrapped_with_the_studys_own_trials_draws_the_same_values_as_unwrapped(make):
    def points(wrapped: bool) -> list[dict[str, float]]:
        sampler = make()
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for _ in range(12):
            if wrapped:
                study.sampler = HistorySampler(sampler, lambda study: study.get_trials(deepcopy=False))
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", 0, 1) - trial.suggest_float("y", 0, 1))
        return [trial.params for trial in study.get_trials()]

    assert points(True) == points(False)
