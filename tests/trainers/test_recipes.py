"""Recipes: every system that has a name trains, learns and goes on after an interruption."""

import pytest

from model.errors import InputError
from model.weights import Pretrained
from tests.conftest import FAST, interrupted, outcome
from trainers.config import TrainConfig, parse_config
from trainers.data import Corpus, prepare
from trainers.files import Folder
from trainers.recipes import RECIPES, recipe
from trainers.train import Training
from trainers.trial import run_trial

every_recipe = pytest.mark.parametrize("name", RECIPES)


def small(name: str, steps: int, rounds: int = 3, **changes: float) -> TrainConfig:
    """Shorten a recipe, and let it learn as fast as a small, random encoder can."""
    lasts = {"passes": None, "epochs": None, "examples": None, "steps": steps, "rounds": rounds}
    stages = tuple(stage.replace(learning_rate=FAST * stage.learning_rate, **lasts) for stage in recipe(name).stages)
    return recipe(name).replace(stages=stages, **changes)


@pytest.fixture(scope="module")
def few_rows(pretrained: Pretrained, tmp_path_factory) -> Corpus:
    return Corpus.open(prepare("sample", pretrained.tokenizer, rows=8, seed=0, cache=tmp_path_factory.mktemp("few"))[0])


@every_recipe
def test_a_recipe_learns_a_few_rows_by_heart(name, few_rows, pretrained):
    config = small(name, steps=45, dropout=0, attention_dropout=0, head_dropout=0)
    first, *_, last = Training(config, few_rows, pretrained, dev_limit=1)
    before, after = (
        {part: value for part, value in result.losses.items() if part.endswith(".loss") and value is not None}
        for result in (first, last)
    )
    assert before.keys() == {f"{task}.loss" for task in config.tasks}
    assert all(after[part] < before[part] / 4 for part in before), (before, after)


@every_recipe
def test_a_recipe_trains_a_round_saves_and_resumes_to_the_same_bits(name, corpus, pretrained, tmp_path):
    config = small(name, steps=6)
    whole, stopped = Folder.at(tmp_path / "whole"), Folder.at(tmp_path / "stopped")
    list(run_trial(whole, config, corpus, pretrained, dev_limit=12))
    with interrupted(3):
        list(run_trial(stopped, config, corpus, pretrained, dev_limit=12))
    list(run_trial(stopped, config, corpus, pretrained, dev_limit=12))
    assert outcome(stopped) == outcome(whole)
    assert outcome(whole)["rows"][-1]["score"] is not None


@every_recipe
def test_a_recipe_is_the_same_after_json(name):
    assert parse_config(recipe(name).model_dump(mode="json")) == recipe(name)


def test_recipes_are_different_systems(corpus, pretrained):
    rounds = {
        name: next(iter(Training(small(name, steps=3, rounds=1), corpus, pretrained, dev_limit=12))) for name in RECIPES
    }
    assert len({result.predictions["sst"].tobytes() for result in rounds.values()}) == len(RECIPES)


def test_an_unknown_recipe_is_told_with_the_nearest():
    with pytest.raises(InputError, match="Unknown recipe 'smrt'; did you mean 'smart'"):
        recipe("smrt")
