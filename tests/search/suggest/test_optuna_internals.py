"""Test that the installed Optuna has the private interface that the project uses, and that one file uses it."""

import ast
import inspect
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FixedTrial, TrialState

from search.suggest.optuna_internals import LookupTrial, StudyView, contains, frozen_trial, open_trial

ROOT = Path(__file__).parents[3]
ADAPTER = "search/suggest/optuna_internals.py"
MOVED = f"Optuna {optuna.__version__} has changed its private interface: {{}}. Change {ADAPTER} or pin an older Optuna."

METHODS: dict[tuple[type, str], tuple[str, ...]] = {
    (optuna.Study, "__init__"): ("self", "study_name", "storage", "sampler"),
    (optuna.Study, "_get_trials"): ("self", "deepcopy", "states", "use_cache"),
    (optuna.Trial, "__init__"): ("self", "study", "trial_id"),
    (FixedTrial, "__init__"): ("self", "params"),
    (FixedTrial, "_suggest"): ("self", "name", "distribution"),
    (BaseDistribution, "_contains"): ("self", "param_value_in_internal_repr"),
}
PRIVATE = {"_trial_id", "_study_id", "_storage", "_get_trials", "_suggest", "_contains", "_suggested_params"}


def new_study() -> optuna.Study:
    return optuna.create_study(sampler=RandomSampler(seed=0))


@pytest.mark.parametrize(("owner", "name"), METHODS)
def test_a_private_method_of_optuna_takes_the_arguments_that_the_adapter_passes(owner: type, name: str):
    method = getattr(owner, name, None)
    assert callable(method), MOVED.format(f"{owner.__name__}.{name} is missing")
    expected = METHODS[owner, name]
    found = tuple(inspect.signature(method).parameters)[: len(expected)]
    assert found == expected, MOVED.format(f"{owner.__name__}.{name} takes {found}, not {expected}")


def test_objects_of_optuna_have_the_private_attributes_that_the_adapter_reads():
    study = new_study()
    trial = study.ask()
    objects: list[tuple[Any, str]] = [
        (study, "_storage"),
        (trial, "_trial_id"),
        (trial, "storage"),
        (study.get_trials()[0], "_trial_id"),
        (FixedTrial({}), "_params"),
    ]
    for owner, name in objects:
        assert hasattr(owner, name), MOVED.format(f"{type(owner).__name__} has no {name}")


def test_a_sampler_learns_from_the_trials_of_a_view_and_stores_attributes_in_the_study():
    study, other = new_study(), new_study()
    for number in range(15):
        trial = other.ask()
        other.tell(trial, trial.suggest_float("x", 0, 1) + number)
    view = StudyView(study, other.get_trials())
    trial = study.ask()
    states = (TrialState.COMPLETE,)
    assert view.get_trials(states=states) == other.get_trials(), MOVED.format("Study.get_trials ignores _get_trials")
    sampler, frozen = TPESampler(seed=0, multivariate=True), study.get_trials()[0]
    found = sampler.infer_relative_search_space(view, frozen)
    assert set(found) == {"x"}, MOVED.format("a sampler does not read the trials of a view")
    view.set_user_attr("key", 1)
    trial.set_user_attr("key", 2)
    assert (study.user_attrs, study.get_trials()[0].user_attrs) == ({"key": 1}, {"key": 2})
    assert len(study.get_trials()) == 1


def test_a_lookup_trial_returns_the_value_of_its_function_for_each_kind_of_parameter():
    asked = []

    def value_of(name: str, distribution: BaseDistribution) -> Any:
        asked.append(name)
        return {"x": 0.25, "count": 3, "word": "b"}[name]

    trial = LookupTrial(value_of)
    found = (trial.suggest_float("x", 0, 1), trial.suggest_int("count", 1, 5), trial.suggest_categorical("word", "ab"))
    assert found == (0.25, 3, "b"), MOVED.format("FixedTrial's methods ignore _suggest")
    assert asked == ["x", "count", "word"] and trial.params == {"x": 0.25, "count": 3, "word": "b"}
    assert trial.distributions["count"] == IntDistribution(1, 5)


def test_an_opened_trial_keeps_its_number_and_its_parameters_and_takes_reports():
    study = new_study()
    begun = study.ask()
    drawn = begun.suggest_float("x", 0, 1)
    study.ask()
    opened = open_trial(study, study.get_trials()[0])
    assert (opened.number, opened.suggest_float("x", 0, 1)) == (0, drawn)
    opened.report(0.5, 1)
    assert frozen_trial(opened).intermediate_values == {1: 0.5}
    assert frozen_trial(begun).params == {"x": drawn}
    study.tell(opened, 0.5)
    assert frozen_trial(opened).state == TrialState.COMPLETE


def test_a_distribution_allows_the_values_within_its_range_and_on_its_steps():
    assert contains(FloatDistribution(0, 1), 1) and not contains(FloatDistribution(0, 1), 1.5)
    assert contains(IntDistribution(4, 16, step=4), 8) and not contains(IntDistribution(4, 16, step=4), 9)
    assert contains(CategoricalDistribution(["a", 1]), "a") and not contains(CategoricalDistribution(["a", 1]), "b")
    assert not contains(FloatDistribution(0, 1), "word") and not contains(IntDistribution(0, 1), None)


def test_no_other_file_uses_optunas_private_interface():
    found = []
    for folder in ("search", "spaces", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name != ADAPTER:
                found += [f"{name}:{line}: {use}" for line, use in private_uses(ast.parse(path.read_text()))]
    assert found == [], f"Move these uses of Optuna's private interface to {ADAPTER}."


def private_uses(tree: ast.Module) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in PRIVATE:
            found.append((node.lineno, node.attr))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optuna"):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            found += [(node.lineno, part) for part in parts if part.startswith("_")]
    return found


def test_a_private_use_is_found():
    text = "from optuna.study._multi_objective import x\nfrom optuna import _y\nstudy._storage\nstudy.get_trials()\n"
    assert private_uses(ast.parse(text)) == [(1, "_multi_objective"), (2, "_y"), (3, "_storage")]
