"""Test the scaling of durations, counted in optimiser steps."""

import pytest

from search.reproduce.trainings import scaled
from tests.conftest import small_config, small_stage
from trainers.config.train_config import DURATIONS, TrainConfig
from trainers.training.step_plan import plan


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
