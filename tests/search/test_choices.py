"""Test that the choices in help texts are the names of the registries."""

from typing import get_args

from search import choices
from search.ensemble.soup import SOUPS
from search.runs.objectives import OBJECTIVES
from search.runs.search_record import STOPPING
from search.selection.strategies import STRATEGIES
from search.suggest.samplers import SAMPLERS
from search.tune.exploit_explore import POPULATION
from search.tune.halving import BRACKETS
from trainers.devices import Precision


def test_the_choices_are_the_entries_of_the_registries():
    assert tuple(SAMPLERS) == choices.SAMPLERS
    assert (*BRACKETS, POPULATION, "none") == choices.TRIAL_SCHEDULERS
    assert tuple(BRACKETS) == STOPPING
    assert get_args(Precision) == choices.PRECISIONS
    assert tuple(OBJECTIVES) == choices.OBJECTIVES
    assert tuple(STRATEGIES) == choices.STRATEGIES
    assert tuple(SOUPS) == choices.SOUPS


def test_the_default_strategy_and_soup_are_entries_of_the_registries():
    assert choices.DEFAULT_STRATEGY in STRATEGIES
    assert choices.DEFAULT_SOUP in SOUPS


def test_listed_names_have_commas_and_an_or_before_the_last():
    assert choices.listed(("tpe", "gp", "random")) == "tpe, gp or random"
