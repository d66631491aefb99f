"""Test forward groups: together they hold the rows and the regulariser weights of the step."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import small_config, small_stage
from trainers.config.train_config import Stage, TrainConfig
from trainers.methods.smart import SmartConfig
from trainers.tasks import TASKS
from trainers.training.forward_groups import ForwardGroup, Rows, regularised_step, split_step

TASK_NAMES = st.lists(st.sampled_from(list(TASKS)), min_size=1, unique=True)
SMARTS = st.builds(
    SmartConfig,
    lambda_s=st.floats(0.1, 10),
    radius=st.sampled_from([0.03, 0.1]),
    every=st.integers(1, 4),
    share=st.floats(0.01, 1),
)
WEIGHTS = st.floats(0, 5)


@st.composite
def cases(draw: st.DrawFn) -> tuple[TrainConfig, Rows, int]:
    """Draw a config, rows of some of its tasks, and the number of a step."""
    tasks = draw(TASK_NAMES)

    def some(values: st.SearchStrategy[Any]) -> Any:
        return draw(values | st.dictionaries(st.sampled_from(tasks), values))

    config = small_config(
        small_stage(tasks=tuple(tasks), accumulate=draw(st.integers(1, 5))),
        smart=some(SMARTS),
        bregman={"mu": some(WEIGHTS)},
        regularisers=draw(st.just({}) | st.just({"r_drop": some(WEIGHTS)})),
    )
    present = draw(st.lists(st.sampled_from(tasks), min_size=1, unique=True))
    return config, rows_of(*present, count=draw(st.integers(1, 20))), draw(st.integers(0, 50))


def rows_of(*sources: str, count: int = 8) -> Rows:
    return {source: np.arange(100 * place, 100 * place + count) for place, source in enumerate(sources)}


def groups_of(config: TrainConfig, rows: Rows, step: int = 0) -> list[ForwardGroup]:
    return split_step(rows, config, config.stages[0], step)


def weight(found: list[ForwardGroup], source: str, regulariser: str) -> float:
    """Return the weight of a regulariser's mean over a source's rows, in the whole step."""
    own = [group for group in found if source in group.rows]
    weighted = sum(len(group.rows[source]) * group.weights.get(regulariser, {}).get(source, 0.0) for group in own)
    return weighted / sum(len(group.rows[source]) for group in own)


@given(cases())
def test_the_groups_hold_every_row_once_and_so_do_their_micro_batches(case):
    config, rows, step = case
    found, count = groups_of(config, rows, step), config.stages[0].accumulate
    for source, numbers in rows.items():
        own = [group for group in found if source in group.rows]
        assert sorted(np.concatenate([group.rows[source] for group in own])) == numbers.tolist()
        for group in own:
            parts = [part[source] for part in group.micro_batches(count) if source in part]
            assert np.concatenate(parts).tolist() == list(range(len(group.rows[source])))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(len(numbers) for group in found for numbers in group.rows.values())
    assert all(len(group.micro_batches(count)) <= count for group in found)


@given(cases())
def test_a_group_has_positive_weights_of_its_regularisers_for_exactly_its_own_tasks(case):
    config, rows, step = case
    for group in groups_of(config, rows, step):
        assert all(weights.keys() == group.rows.keys() for weights in group.weights.values())
        assert all(value > 0 for weights in group.weights.values() for value in weights.values())


@given(cases())
def test_a_step_has_the_weights_of_its_config_however_it_is_split(case):
    config, rows, step = case
    found = groups_of(config, rows, step)
    for source in rows:
        smart = config.smart_of(source)
        lazy = smart.every if step % smart.every == 0 else 0
        assert weight(found, source, "smart") == pytest.approx(smart.lambda_s * lazy)
        for name, setting in {"bregman": config.bregman.mu, **config.regularisers}.items():
            expected = setting.get(source, 0.0) if isinstance(setting, dict) else setting
            assert weight(found, source, name) == pytest.approx(expected)


@given(cases())
def test_tasks_with_equal_settings_share_a_forward_pass(case):
    config, rows, step = case
    found = groups_of(config, rows, step)
    if not isinstance(config.smart, dict) and config.smart.share == 1:
        kinds = {tuple(sorted(group.weights)) for group in found}
        assert len(found) == len(kinds)


def test_without_regularisers_a_step_is_one_group_and_micro_batches_differ_by_at_most_one_row():
    whole = groups_of(small_config(), rows_of("sst", "qqp"))
    assert [(list(group.rows), group.weights) for group in whole] == [(["sst", "qqp"], {})]
    (ragged,) = groups_of(small_config(), rows_of("sst"))
    assert [part["sst"].tolist() for part in ragged.micro_batches(3)] == [[0, 1, 2], [3, 4, 5], [6, 7]]


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_lazy_smart_has_its_configured_weight_on_average(every):
    config = small_config(smart=SmartConfig(lambda_s=0.7, every=every))
    found = [weight(groups_of(config, rows_of("sst"), step), "sst", "smart") for step in range(3 * every)]
    assert np.mean(found) == pytest.approx(0.7)
    assert sum(value > 0 for value in found) == 3


@pytest.mark.parametrize("tasks", [("sst", "qqp"), ("sst", "qqp", "sts")])
@pytest.mark.parametrize("every", [2, 3, 4])
def test_with_separate_updates_every_task_is_regularised_in_every_n_th_turn(tasks, every):
    stage = small_stage(tasks=tasks, update="separate", batch_schedule="cycle")
    config, turns = small_config(stage, smart=SmartConfig(lambda_s=0.7, every=every)), 4 * every
    for place, task in enumerate(tasks):
        steps = [turn * len(tasks) + place for turn in range(turns)]
        found = [weight(groups_of(config, rows_of(task), step), task, "smart") for step in steps]
        assert np.mean(found) == pytest.approx(0.7)
        assert [regularised_step(config, stage, task, step) for step in steps] == [value > 0 for value in found]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_share_of_rows_is_taken_from_the_whole_step_and_rounded_up(accumulate):
    config = small_config(small_stage(accumulate=accumulate), smart=SmartConfig(lambda_s=1, share=0.3))
    found = groups_of(config, rows_of("sst"))
    assert [(group.rows["sst"].tolist(), list(group.weights)) for group in found] == [
        ([0, 1, 2], ["smart"]), ([3, 4, 5, 6, 7], []),
    ]  # fmt: skip


def test_groups_do_not_depend_on_weight_and_frequency_of_smart():
    """Weight, frequency and share determine weights and rows; the other settings of SMART determine the groups."""
    smart = {
        "sst": SmartConfig(lambda_s=1, every=2, norm="linf"),
        "qqp": SmartConfig(lambda_s=3, norm="linf"),
        "sts": SmartConfig(lambda_s=2, radius=0.5),
    }
    config = small_config(smart=smart)
    together, separate = groups_of(config, rows_of("sst", "qqp", "sts"))
    assert (list(together.rows), together.weights) == (["sst", "qqp"], {"smart": {"sst": 2, "qqp": 3}})
    assert (together.smart.norm, separate.smart.radius) == ("linf", 0.5)
    assert together.smart == SmartConfig(lambda_s=1, norm="linf")


@pytest.mark.parametrize("objective", ["mlm", "simcse"])
def test_further_pretraining_is_not_regularised(objective):
    stage: Stage = small_stage(objective=objective)
    config = small_config(stage, small_stage(), smart=SmartConfig(lambda_s=1), bregman={"mu": 1})
    (group,) = split_step(rows_of("sst", "qqp"), config, stage, 0)
    assert (group.weights, group.smart) == ({}, SmartConfig())
