"""Test how many passes each config trains, and the line about it."""

import pytest

from model.errors import InputError
from search.finish.length import Length, check_budget, in_passes
from search.tune.slots import Slots
from tests.conftest import ROWS, small_config, small_stage
from tests.search.finish.searched_run import dropout_config
from trainers.config.train_config import TrainConfig
from trainers.data.corpus import Corpus
from trainers.training.step_plan import plan

TWO_STAGES = small_config(small_stage(tasks=("qqp",), steps=5), small_stage(epochs=0.5))


def passes(config: TrainConfig, passes: float) -> TrainConfig:
    return config.replace(stages=(config.stages[0].replace(passes=passes),))


CONFIGS = {3: dropout_config(), 1: passes(dropout_config(0.2), 1.0)}
"""Configs of two passes and of one pass."""


def test_a_duration_in_steps_or_epochs_becomes_the_same_number_of_passes(corpus: Corpus):
    found = in_passes(TWO_STAGES, corpus)
    assert all(stage.passes and not (stage.steps or stage.epochs) for stage in found.stages)
    assert found.stages[0].passes == pytest.approx(5 * 8 / ROWS)
    assert [step.rows for step in plan(found, corpus)[0]] == [step.rows for step in plan(TWO_STAGES, corpus)[0]]


def test_a_duration_in_passes_stays(corpus: Corpus):
    assert in_passes(dropout_config(), corpus) == dropout_config()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (160.0, [1.5, 1.0]),  # two turns of 80 s, of which evaluation takes a quarter; a pass takes 40 s
        (64.0, [0.6, 0.6]),
        (9e9, [2.0, 1.0]),  # no more than in the search
        (1.0, [0.25, 0.25]),
        (None, [2.0, 1.0]),
    ],
)
def test_all_trainings_fit_into_the_budget(seconds: float | None, expected: list[float]):
    length = Length(CONFIGS, trainings=4, slots=Slots(2, 1, 0), pass_seconds={3: 40.0, 1: 40.0}, seconds=seconds)
    assert [config.stages[0].passes for config in length.chosen.values()] == expected
    assert [config.dropout for config in length.chosen.values()] == [0.1, 0.2]


def test_a_config_that_had_fewer_passes_than_the_fewest_keeps_them():
    configs = {0: passes(dropout_config(), 0.1)}
    assert Length(configs, trainings=1, slots=Slots(1, 1, 0), pass_seconds={0: 40.0}, seconds=1.0).chosen == configs


PACE = {3: 40.0, 1: 100.0}
"""Trial -> seconds of a pass of its config; evaluation takes a third of that time more."""
LINES = {
    # Two slots: 107 s and 133 s, then 107 s in the first slot and 133 s in the second one, which is free first.
    "as in the search": (None, PACE, "4 trainings of 1 to 2 passes over 144 rows, as in the search: about 0:04:27 of"),
    "budget": (120.0, PACE, "4 trainings of 0.5 passes over 144 rows, as --time-budget decides: about 0:02:00 of"),
    "too short": (10.0, PACE, "about 0:01:00 of training and evaluation. That is more than --time-budget: raise it"),
    "unknown pace": (None, None, "4 trainings of 1 to 2 passes over 144 rows, as in the search."),
}


@pytest.mark.parametrize(("seconds", "pace", "expected"), LINES.values(), ids=LINES)
def test_a_line_tells_the_number_the_length_and_the_time_of_the_trainings(
    corpus: Corpus, seconds: float | None, pace: dict[int, float] | None, expected: str
):
    line = Length(CONFIGS, trainings=4, slots=Slots(2, 1, 0), pass_seconds=pace, seconds=seconds).line(corpus)
    assert expected in line
    assert ("more than --time-budget" in line) == (seconds == 10.0)


def test_the_passes_of_several_stages_are_those_of_each_stage(corpus: Corpus):
    configs = {0: in_passes(TWO_STAGES, corpus)}
    line = Length(configs, trainings=1, slots=Slots(1, 1, 0), pass_seconds=None, seconds=None).line(corpus)
    assert line.startswith("1 training of 0.5 to 0.833 passes in each stage over 144 rows"), line


@pytest.mark.parametrize(
    ("config", "address", "fault"),
    [(TWO_STAGES, None, "of trial 7 has 2 stages"), (dropout_config(), "head:6379", "--address head:6379 names a")],
)
def test_a_time_budget_for_which_no_passes_can_be_chosen_is_an_error(
    config: TrainConfig, address: str | None, fault: str
):
    check_budget({7: config}, None, address)
    with pytest.raises(InputError, match=fault):
        check_budget({7: config}, 60.0, address)
