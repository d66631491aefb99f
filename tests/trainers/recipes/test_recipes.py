"""Test all recipes: training, learning and resuming."""

import re

import pytest

from model.errors import InputError
from model.pretrained import Pretrained
from search.selection.strategies import STRATEGIES
from tests.conftest import FAST, interrupted, outcome
from trainers.config.parsing import parse_config
from trainers.config.task_checks import check_tasks
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.corpus import Corpus
from trainers.data.prepare import prepare
from trainers.folder import Folder
from trainers.recipes.registry import OURS, RECIPES, configs, recipe
from trainers.recipes.systems import EnsembleOf
from trainers.tasks import TASKS
from trainers.training.training import Training
from trainers.trial import run_trial

FASTEST = 0.02
"""A higher learning rate makes the small encoder forget faster than it learns."""

every_recipe = pytest.mark.parametrize("name", RECIPES)
ours = pytest.mark.parametrize("name", OURS)


def small(name: str, steps: int, rounds: int = 3, **changes: float) -> TrainConfig:
    """Shorten a recipe, with the highest learning rate that suits a small random encoder."""
    lasts = {"passes": None, "epochs": None, "examples": None, "steps": steps, "rounds": rounds}
    stages = tuple(stage.replace(learning_rate=FAST * stage.learning_rate, **lasts) for stage in OURS[name]().stages)
    return OURS[name]().replace(stages=stages, **changes)


@pytest.fixture(scope="module")
def few_rows(pretrained: Pretrained, tmp_path_factory) -> Corpus:
    return Corpus.open(prepare("sample", pretrained.tokenizer, rows=8, seed=0, cache=tmp_path_factory.mktemp("few"))[0])


@ours
def test_a_recipe_overfits_a_few_rows(name, few_rows, pretrained):
    config = small(name, steps=60, dropout=0, attention_dropout=0, head_dropout=0)
    first, *_, last = Training(config, few_rows, pretrained, dev_limit=1)
    before, after = (
        {part: value for part, value in result.losses.items() if part.endswith(".loss") and value is not None}
        for result in (first, last)
    )
    assert before.keys() == {f"{task}.loss" for task in config.tasks}
    assert all(after[part] < before[part] / 4 for part in before), (before, after)


def brief_stage(stage: Stage) -> Stage:
    """Shorten a stage to a few steps per task, with the highest learning rate that suits a small random encoder."""
    each = 30 if len(stage.sources) == 1 else 18  # tasks with a shared encoder train it together
    steps = each * (len(stage.sources) if stage.update == "separate" else 1)
    lasts = {"passes": None, "epochs": None, "examples": None, "steps": steps, "rounds": 3}
    return stage.replace(learning_rate=min(FAST * stage.learning_rate, FASTEST), **lasts)


def brief(config: TrainConfig) -> TrainConfig:
    """Shorten all stages of a config, and switch dropout off, unless a stage needs it."""
    stages = tuple(brief_stage(stage) for stage in config.stages)
    contrasted = any(stage.objective == "simcse" for stage in stages)  # needs dropout, so that its two passes differ
    still = {} if contrasted else {"dropout": 0, "attention_dropout": 0, "head_dropout": 0}
    return config.replace(stages=stages, **still)


def brief_trainings() -> dict[str, TrainConfig]:
    """Name the shortened training of every recipe by the first recipe that has it: some differ in numbers alone."""
    found: dict[str, tuple[str, TrainConfig]] = {}
    for name, config in (pair for system in RECIPES for pair in configs(system).items()):
        short = brief(config)
        found.setdefault(re.sub(r"\d[\d.e+-]*", "", short.model_dump_json()), (name, short))
    return dict(found.values())


BRIEF = brief_trainings()


@pytest.mark.parametrize(("name", "config"), BRIEF.items(), ids=BRIEF)
def test_the_loss_of_every_stage_of_every_recipe_falls(name, config, few_rows, pretrained):
    results = list(Training(config, few_rows, pretrained, dev_limit=1))
    assert results[-1].finite and results[-1].score is not None
    for first, _, last in zip(*[iter(results)] * 3, strict=True):
        assert last.loss < first.loss, (name, first.losses, last.losses)


@ours
def test_a_recipe_trains_a_round_saves_and_resumes_to_the_same_bits(name, corpus, pretrained, tmp_path):
    config = small(name, steps=6)
    whole, stopped = Folder.at(tmp_path / "whole"), Folder.at(tmp_path / "stopped")
    list(run_trial(whole, config, corpus, pretrained, dev_limit=12))
    with interrupted(3):
        list(run_trial(stopped, config, corpus, pretrained, dev_limit=12))
    list(run_trial(stopped, config, corpus, pretrained, dev_limit=12))
    assert outcome(stopped) == outcome(whole)
    assert outcome(whole)["rows"][-1].score is not None


def test_all_recipes_differ(corpus, pretrained):
    rounds = {
        name: next(iter(Training(small(name, steps=3, rounds=1), corpus, pretrained, dev_limit=12))) for name in OURS
    }
    assert len({result.predictions["sst"].tobytes() for result in rounds.values()}) == len(OURS)


@every_recipe
def test_a_recipe_survives_json_and_its_settings_make_sense_for_its_tasks(name):
    for config in configs(name).values():
        assert parse_config(config.model_dump(mode="json")) == config
        check_tasks(config, TASKS)


@every_recipe
def test_every_config_of_a_recipe_is_a_recipe_by_its_own_name(name):
    for part, config in configs(name).items():
        assert recipe(part) == config


@every_recipe
def test_an_ensemble_names_existing_recipes_and_an_existing_strategy(name):
    found = recipe(name)
    if isinstance(found, EnsembleOf):
        assert found.strategy in STRATEGIES
        assert len(configs(name)) >= len(found.members) >= 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smrt", "Unknown recipe 'smrt'; did you mean 'smart'"),
        ("r003-smart-sst-bergman", "did you mean 'r003-smart-sst-bregman'"),
        ("r000-trilogy/stss", "Unknown member of r000-trilogy 'stss'; did you mean 'sts'"),
        ("plain/sst", "Unknown recipe 'plain/sst'; did you mean 'plain'"),
    ],
)
def test_the_error_of_an_unknown_recipe_names_the_nearest_and_does_not_list_all(name, message):
    with pytest.raises(InputError, match=message) as caught:
        recipe(name)
    assert len(str(caught.value)) < 150


def test_a_group_trains_one_model_per_task():
    group = configs("r000-trilogy")
    assert list(group) == ["r000-trilogy/sst", "r000-trilogy/qqp", "r000-trilogy/sts"]
    assert [config.tasks for config in group.values()] == [("sst",), ("qqp",), ("sts",)]
