"""Test the samplers: the history that they see, their draws, and the spaces that they do not support."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from model.errors import InputError
from search.runs.objectives import Direction
from search.runs.trial_record import STOPPED_VALUES
from search.suggest.samplers import EI_CANDIDATES, MAX_GOOD_TRIALS, SAMPLERS, STARTUP_TRIALS, check_sampler, history
from search.suggest.space import Space
from search.suggest.wrapped_samplers import HistorySampler
from trainers.config.train_config import Stage, TrainConfig

CONFIG = TrainConfig(stages=(Stage(steps=1),))
UNIT: BaseDistribution = FloatDistribution(0, 1)
LEARNING = ["tpe", "gp", "cmaes"]
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def suggest(trial: optuna.trial.BaseTrial) -> TrainConfig:
    """Draw two numbers, a choice, and a number that depends on it."""
    trial.suggest_float("x", 1e-3, 1, log=True)
    trial.suggest_int("count", 1, 9)
    if trial.suggest_categorical("more", [True, False]):
        trial.suggest_float("y", 0, 1)
    return CONFIG


def numbers(trial: optuna.trial.BaseTrial) -> TrainConfig:
    """Draw two numbers."""
    trial.suggest_float("x", 0, 1)
    trial.suggest_float("y", 0, 1)
    return CONFIG


def studied(
    count: int,
    space: Callable[[optuna.Trial], object] = suggest,
    directions: Sequence[Direction] = ("maximize",),
    stopped: float = 0.5,
) -> optuna.Study:
    """Return a study of random trials: the nearer x is to .3, the better; some are stopped, failed or running."""
    study = optuna.create_study(directions=list(directions), sampler=optuna.samplers.RandomSampler(seed=0))
    draw = np.random.default_rng(0)
    for number in range(count):
        trial = study.ask()
        space(trial)
        value = -abs(trial.params["x"] - 0.3)
        if number % 17 == 5:
            study.tell(trial, state=TrialState.FAIL)
        elif draw.random() < stopped:
            if len(directions) > 1:
                trial.set_user_attr(STOPPED_VALUES, [value, trial.params.get("y", 0.0)])
            else:
                trial.report(value, int(draw.integers(1, 4)))
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, [value, trial.params.get("y", 0.0)][: len(directions)])
    space(study.ask())
    return study


def drawn(study: optuna.Study, sampler: optuna.samplers.BaseSampler, space: Callable = suggest) -> dict:
    """Return the parameters that a sampler draws for the next trial; the study does not change."""
    copy = optuna.create_study(directions=study.directions, sampler=sampler)
    copy.add_trials(study.get_trials())
    trial = copy.ask()
    space(trial)
    return trial.params


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_draw_is_a_function_of_the_seed_and_the_trials(name: str):
    study = studied(40)
    first, again, other = (drawn(study, SAMPLERS[name](seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert first["count"] in range(1, 10) and 1e-3 <= first["x"] <= 1


def tpe(seed: int) -> TPESampler:
    """Return Optuna's own TPE sampler with our settings."""
    return TPESampler(
        seed=seed, group=True, multivariate=True, n_startup_trials=STARTUP_TRIALS, n_ei_candidates=EI_CANDIDATES
    )


@pytest.mark.parametrize("count", [5, 60])
def test_with_a_short_history_of_finished_trials_tpe_draws_as_optunas_own(count: int):
    study = studied(count, stopped=0)
    for seed in range(5):
        assert drawn(study, SAMPLERS["tpe"](seed)) == drawn(study, tpe(seed))


def test_a_sampler_sees_a_stopped_trial_with_its_last_value_plus_the_mean_gain():
    study = optuna.create_study(direction="maximize")
    for scores in [(0.1, 0.2, 0.5), (0.2, 0.2, 0.8), (0.3,), (0.1, 0.3)]:
        trial = study.ask()
        for judged, score in enumerate(scores, 1):
            trial.report(score, judged)
        finished = len(scores) == 3
        study.tell(trial, scores[-1] if finished else None, TrialState.COMPLETE if finished else TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.PRUNED)
    running = study.ask()
    running.report(0.9, 1)
    shown = history(study, None)
    # From round 1 to the end the finished trials gained .4 and .6, from round 2 on .3 and .6.
    values = [trial.values and round(trial.values[0], 6) for trial in shown]
    assert values[:5] == [0.5, 0.8, 0.8, 0.75, None]
    states = [trial.state.name for trial in shown]
    assert states == ["COMPLETE"] * 4 + ["PRUNED", "RUNNING"], (
        "a trial without rounds or a running trial is not shown as finished"
    )
    known = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    assert known == [trial.state.name for trial in history(study, None, extrapolate=False)]
    assert known == ["COMPLETE"] * 2 + ["PRUNED"] * 3 + ["RUNNING"], "the study itself does not change"


def test_without_finished_trials_a_sampler_sees_a_stopped_trial_with_its_last_value():
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    trial.report(0.4, 1)
    study.tell(trial, state=TrialState.PRUNED)
    assert [trial.values for trial in history(study, None)] == [[0.4]]


def test_a_shortened_history_keeps_the_best_the_newest_and_the_running_trials():
    study = studied(400)
    trials = study.get_trials(deepcopy=False)
    shown = history(study, 120)
    finished = [trial for trial in history(study, None) if trial.state == TrialState.COMPLETE]
    best = sorted(finished, key=lambda trial: trial.value or 0.0, reverse=True)[:MAX_GOOD_TRIALS]
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert len(shown) == 120 + len(running) and running
    numbers = [trial.number for trial in shown]
    assert numbers == sorted(numbers)
    assert {trial.number for trial in [*best, *ended[-30:], *running]} <= set(numbers)
    gaps = np.diff([trial.number for trial in shown if trial.number < 350])
    assert gaps.max() < 20, "the skipped trials are spread over the search"


def test_tpe_with_a_shortened_history_draws_near_the_best_trials():
    study = studied(400)

    def draw(seed: int) -> float:
        return drawn(study, HistorySampler(tpe(seed), partial(history, limit=120)))["x"]

    assert draw(0) == draw(0)
    away = np.abs([draw(seed) - 0.3 for seed in range(10)])
    assert 3 * np.median(away) < np.median([abs(trial.params["x"] - 0.3) for trial in study.trials])


def test_with_several_objectives_a_shortened_history_keeps_the_pareto_front():
    study = studied(300, numbers, ("maximize", "minimize"), stopped=0.2)
    front = {trial.number for trial in study.best_trials}
    shown = history(study, 100)
    assert front and front <= {trial.number for trial in shown}


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("directions", [("maximize",), ("maximize", "minimize")])
def test_a_stopped_trial_changes_the_next_draw(name: str, directions: tuple[Direction, ...]):
    if name == "cmaes" and len(directions) > 1:
        pytest.skip("CMA-ES supports one objective")
    study = studied(30, numbers, directions)
    changed = optuna.create_study(directions=list(directions))
    stopped = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))[0]
    for trial in study.get_trials():
        if trial.number == stopped.number:
            trial.params = {"x": trial.params["x"] / 2, "y": trial.params["y"] / 2}
        changed.add_trial(trial)
    before, after = ([drawn(found, SAMPLERS[name](seed), numbers) for seed in range(3)] for found in (study, changed))
    assert before != after


@pytest.mark.parametrize(("name", "objectives"), [("tpe", 1), ("gp", 1), ("cmaes", 1), ("gp", 2), ("tpe", 2)])
def test_the_better_a_stopped_trial_the_nearer_to_it_is_the_next_draw(name: str, objectives: int):
    directions: tuple[Direction, ...] = ("maximize", "minimize")
    distances = []
    for value in (-1.0, 1.0):
        study = optuna.create_study(directions=directions[:objectives])
        study.add_trials(studied(30, numbers, directions[:objectives]).get_trials())
        reached: dict[str, Any] = (
            {"value": value} if objectives == 1 else {"user_attrs": {STOPPED_VALUES: [value, -value]}}
        )
        for place in np.linspace(0.9, 1, 6):
            params, kinds = {"x": place, "y": place}, dict.fromkeys("xy", UNIT)
            study.add_trial(create_trial(state=TrialState.PRUNED, params=params, distributions=kinds, **reached))
        suggested = [drawn(study, SAMPLERS[name](seed), numbers) for seed in range(3)]
        distances.append(sum(2 - found["x"] - found["y"] for found in suggested))
    assert distances[1] < distances[0]


@pytest.mark.parametrize("name", LEARNING)
def test_samplers_find_the_maximum_of_a_bowl_better_than_random_search(name: str):
    def best(sampler: str) -> float:
        study = optuna.create_study(direction="maximize")
        for number in range(trials):
            study.sampler = SAMPLERS[sampler](number)
            trial = study.ask()
            numbers(trial)
            study.tell(trial, -((trial.params["x"] - 0.7) ** 2) - (trial.params["y"] - 0.2) ** 2)
        return study.best_value

    trials = 20 if name == "gp" else 60  # a draw from a Gaussian process takes a second
    assert best(name) > best("random")


def test_cma_es_needs_only_the_trials_of_a_study_to_continue():
    study = studied(60, numbers, stopped=0.3)
    rebuilt = optuna.create_study(direction="maximize")
    for trial in study.get_trials():
        trial.system_attrs = {}
        rebuilt.add_trial(trial)
    assert drawn(study, SAMPLERS["cmaes"](1), numbers) == drawn(rebuilt, SAMPLERS["cmaes"](1), numbers)
    near = [drawn(study, SAMPLERS["cmaes"](seed), numbers)["x"] for seed in range(20)]
    far = [
        drawn(optuna.create_study(direction="maximize"), SAMPLERS["cmaes"](seed), numbers)["x"] for seed in range(20)
    ]
    assert np.median(np.abs(np.array(near) - 0.3)) < np.median(np.abs(np.array(far) - 0.3))


def space(function: Callable) -> Space:
    return Space(Path("space.py"), "", function, [])


def test_parameters_that_a_sampler_draws_at_random_are_noted_before_the_search():
    assert (
        check_sampler("tpe", space(suggest), ["score"])
        == check_sampler("random", space(suggest), ["score", "sst", "qqp"])
        == []
    )
    assert check_sampler("gp", space(numbers), ["score", "sst"]) == []
    (note,) = check_sampler("gp", space(suggest), ["score"])
    assert note == "Sampler gp draws these parameters at random: y (absent from some trials)."
    (note,) = check_sampler("cmaes", space(suggest), ["score"])
    assert note.startswith("Sampler cmaes draws these parameters at random: more, y (choices, or absent")


def choice(trial: optuna.trial.BaseTrial) -> TrainConfig:
    trial.suggest_categorical("more", [True, False])
    return CONFIG


def test_a_space_or_objectives_that_a_sampler_does_not_support_are_an_error():
    with pytest.raises(InputError, match="one objective, not 2"):
        check_sampler("cmaes", space(suggest), ["score", "sst"])
    with pytest.raises(InputError, match="no numerical parameter that every trial has"):
        check_sampler("cmaes", space(choice), ["score"])
