"""Test the path from names of recipes to trainings: globs, set fields, equal configs, checks of the data, durations."""

from dataclasses import replace
from typing import Any

import optuna
import pytest

from model.errors import InputError
from search.reproduce.printed_tables import PRINTED
from search.reproduce.trainings import (
    Trainings,
    check_texts,
    check_trainings,
    chosen,
    scaled,
    trained_as,
    trainings_of,
)
from search.suggest.space import CheckedSpace, suggest_config
from tests.conftest import small_config, small_stage
from trainers.config.train_config import DURATIONS, TrainConfig
from trainers.data.corpus import Corpus
from trainers.training.step_plan import plan

pytestmark = pytest.mark.usefixtures("systems")


def checked(trainings: Trainings, corpus: Corpus, **changed: Any) -> CheckedSpace:
    """Check trainings, by default under one seed and with unchanged durations."""
    return check_trainings(trainings, corpus, **({"encoder": "minilm", "seeds": [0], "scale": 1} | changed))


def test_globs_match_recipes_in_order_and_members_of_groups_only_with_a_slash():
    assert chosen([]) == []
    assert chosen(["voted", "jo*", "other", "joint"]) == ["voted", "joint", "other"]
    assert chosen(["gr*"]) == ["group"]
    assert chosen(["gr*/s*"]) == ["group/sst", "group/sts"]
    assert chosen(["r001-frozen*"]) == ["r001-frozen-sst", "r001-frozen-cfimdb", "r001-frozen"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r002-conact", "did you mean 'r002-concat'?"),
        ("x-*", "No recipe matches 'x-*'"),
        ("group/sst2", "did you mean 'sst'?"),
    ],
)
def test_a_name_that_matches_nothing_is_an_error(name, message):
    with pytest.raises(InputError) as raised:
        chosen(["joint", name])
    assert message in str(raised.value)


def test_a_group_needs_its_members_and_an_ensemble_the_trainings_of_its_members():
    assert list(trainings_of(["best", "group"], [])) == ["joint", "group/sst", "group/qqp", "group/sts"]
    assert len(trainings_of(PRINTED, [])) == 88


def test_a_field_is_set_in_every_config():
    changed = trainings_of(["joint", "group"], ["optimizer.warmup=0.25", "dropout=0"])
    assert {(config.optimizer.warmup, config.dropout) for config in changed.values()} == {(0.25, 0)}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("stages.1.steps=3", "Recipe joint: Unknown config field in --set stages.1.steps=3"),
        ("dropout=2", "Recipe joint: Config field dropout"),
        ("seed=3", "--set seed=3: seed has an option of its own. Pass --seed instead."),
        ("encoder=minilm", "encoder has an option of its own. Pass --encoder instead."),
    ],
)
def test_the_error_for_a_field_that_cannot_be_set_names_the_recipe(assignment, message):
    with pytest.raises(InputError) as raised:
        trainings_of(["joint", "group"], [assignment])
    assert message in str(raised.value)


def test_equal_configs_are_trained_as_the_first_of_them():
    same = trained_as(trainings_of(["joint", "other", "alias"], []))
    assert same == {"joint": "joint", "other": "other", "alias": "joint"}
    printed = trained_as(trainings_of(PRINTED, []))
    assert printed["r003-batch-40-6-4"] == "r003-baseline"
    assert printed["r002-concat-smart-pretrain-l1-d30"] == "r002-concat-smart-pretrain"


def test_the_space_has_a_point_for_each_training_and_seed_that_gives_its_config(corpus):
    trainings = trainings_of(["joint", "other"], [])
    found = checked(trainings, corpus, encoder="somewhere", seeds=range(3, 5))
    points = [(point["seed"], point["recipe"]) for point in found.space.start]
    assert points == [(3, "joint"), (3, "other"), (4, "joint"), (4, "other")], (
        "all trainings under the first seed come first"
    )
    configs = [suggest_config(found.space, optuna.trial.FixedTrial(point)) for point in found.space.start]
    assert configs == [trainings[name].replace(seed=seed, encoder="somewhere") for seed, name in points]
    assert (found.tasks, found.shape) == (("sst", "qqp", "sts"), None)


def test_the_error_for_a_missing_task_names_every_recipe_that_needs_it(corpus):
    lacking = replace(corpus, splits={task: corpus.splits[task] for task in ("sst", "qqp", "sts")})
    trainings = trainings_of(chosen(["joint", "r001-f*"]), [])
    with pytest.raises(InputError) as raised:
        checked(trainings, lacking)
    assert "The data lack task cfimdb, needed by r001-frozen-cfimdb, r001-finetune-cfimdb. Pass other --data" in str(
        raised.value
    )
    config = small_config(small_stage(objective="mlm", tasks=("cfimdb",)), small_stage())
    with pytest.raises(InputError, match="The data lack task cfimdb, needed by on_texts"):
        checked({"joint": small_config(), "on_texts": config}, lacking)


def test_a_missing_text_set_is_an_error_before_the_data_are_read(tmp_path):
    trainings = trainings_of(["r000-trilogy-mlm", "joint"], [])
    check_texts(trainings, "sample")
    (tmp_path / "imdb.txt").write_text("A film .")
    for data, message in (
        ("hub", "text set imdb, needed by r000-trilogy-mlm/sst; text set snli"),
        (str(tmp_path), "text set snli"),
    ):
        with pytest.raises(InputError) as raised:
            check_texts(trainings, data)
        assert f"The data lack {message}, needed by r000-trilogy-mlm/qqp, r000-trilogy-mlm/sts." in str(raised.value)


@pytest.mark.parametrize("scale", [0.01, 1])
def test_all_systems_of_the_reports_can_be_trained_on_the_sample(corpus, scale):
    assert set(checked(trainings_of(PRINTED, []), corpus, scale=scale).tasks) == {"sst", "qqp", "sts", "cfimdb"}


def step_counts(config: TrainConfig, corpus) -> list[int]:
    """Return the number of optimiser steps of each stage."""
    steps, _ = plan(config, corpus)
    return [sum(step.stage == place for step in steps) for place in range(len(config.stages))]


@pytest.mark.parametrize("duration", [{"passes": 2}, {"epochs": 2}, {"steps": 12}, {"examples": 96}])
def test_every_kind_of_duration_is_multiplied(corpus, duration):
    config = small_config(small_stage(tasks=("sst",), **duration))  # two passes over 48 rows in batches of 8
    assert step_counts(config, corpus) == [12]
    assert step_counts(scaled(config, 0.25, corpus), corpus) == [3]
    assert step_counts(scaled(config, 1.5, corpus), corpus) == [18]
    assert step_counts(scaled(config, 0.001, corpus), corpus) == [1]
    assert scaled(config, 1, corpus) == config


def test_scale_1_only_reduces_rounds(corpus):
    stages = [small_stage(tasks=("sst",), epochs=0.5, rounds=10), small_stage(steps=8, rounds=2)]
    config = scaled(small_config(*stages), 1, corpus)
    assert config == small_config(stages[0].replace(rounds=3), stages[1])


def test_a_scaled_stage_has_at_most_as_many_rounds_as_steps(corpus):
    stages = scaled(small_config(small_stage(steps=20, rounds=4), small_stage(steps=200, rounds=4)), 0.1, corpus).stages
    assert [(stage.steps, stage.rounds) for stage in stages] == [(2, 2), (20, 4)]


def test_every_task_is_trained_at_any_scale(corpus):
    in_turn = small_stage(batch_schedule="sequential", epochs=4)  # 48 rows of each task, 6 steps
    (stage,) = scaled(small_config(in_turn), 0.001, corpus).stages
    assert [getattr(stage, name) for name in DURATIONS] == [None, None, 13, None]
    together = small_stage(batch_schedule="equal", epochs=4)
    assert scaled(small_config(together), 0.001, corpus).stages[0].steps == 1


def test_a_stage_on_texts_may_be_scaled_to_one_step(corpus):
    texts = small_stage(objective="mlm", batch_schedule="sequential", epochs=4)
    assert scaled(small_config(texts, small_stage()), 0.001, corpus).stages[0].steps == 1
