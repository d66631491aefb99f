"""Plans: where each duration ends, what a round is, and streams that go on from stage to stage."""

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.errors import InputError
from tests.conftest import small_config, small_stage
from trainers.batch_schedules import BATCH_SCHEDULES
from trainers.batching import stream
from trainers.config import Stage, TrainConfig
from trainers.optim import warmup_then_decay
from trainers.plan import Round, Step, plan_rounds, plan_steps
from trainers.tasks import TASKS

SIZES = {"sst": 40, "qqp": 70, "sts": 23, "cfimdb": 9}
DURATIONS = st.one_of(
    st.fixed_dictionaries({"steps": st.integers(1, 30)}),
    st.fixed_dictionaries({"examples": st.integers(1, 300)}),
    st.fixed_dictionaries({"passes": st.floats(0.01, 3)}),
    st.fixed_dictionaries({"epochs": st.floats(0.01, 2.5)}),
)
every_schedule = pytest.mark.parametrize("schedule", BATCH_SCHEDULES)


@st.composite
def stages(draw: st.DrawFn, rounds: int = 6) -> Stage:
    tasks = draw(st.lists(st.sampled_from(list(SIZES)), min_size=1, unique=True))
    return small_stage(
        tasks=tuple(tasks),
        batch_schedule=draw(st.sampled_from(list(BATCH_SCHEDULES))),
        batch_size=draw(st.fixed_dictionaries({task: st.integers(1, 32) for task in tasks})),
        rounds=draw(st.integers(1, rounds)),
        **draw(DURATIONS),
    )


CONFIGS = st.lists(stages(), min_size=1, max_size=3).map(lambda some: small_config(*some))


def steps_of(config: TrainConfig, index: int) -> list[Step]:
    return [step for step in plan_steps(config, SIZES) if step.stage == index]


def one_stage(**changes: Any) -> list[Step]:
    return plan_steps(small_config(small_stage(rounds=1, **changes)), SIZES)


def examples(steps: list[Step]) -> int:
    return sum(sum(step.rows.values()) for step in steps)


@settings(max_examples=60)
@given(CONFIGS)
def test_steps_count_themselves_and_their_examples(config):
    plan = plan_steps(config, SIZES)
    assert [step.examples for step in plan] == np.cumsum([sum(step.rows.values()) for step in plan]).tolist()
    assert [step.stage for step in plan] == sorted(step.stage for step in plan)
    for index, stage in enumerate(config.stages):
        steps = [step for step in plan if step.stage == index]
        assert [(step.done, step.steps) for step in steps] == [(done, len(steps)) for done in range(len(steps))]
        assert steps, "every stage takes a step"
        assert all(0 < rows <= stage.batch_sizes()[task] for step in steps for task, rows in step.rows.items())


@settings(max_examples=60)
@given(CONFIGS)
def test_streams_go_on_across_stages_and_repeat_no_row_before_a_pass_ends(config):
    taken: Counter[str] = Counter()
    rows: dict[str, list[int]] = {task: [] for task in config.tasks}
    for step in plan_steps(config, SIZES):
        for task, count in step.rows.items():
            batch = stream(SIZES[task], config.seed, task, taken[task], count)
            assert len(batch) == count, "a planned batch crosses the end of a pass"
            rows[task] += batch.tolist()
            taken[task] += count
    for task, seen in rows.items():
        whole = len(seen) // SIZES[task]
        passes = [seen[number * SIZES[task] : (number + 1) * SIZES[task]] for number in range(whole + 1)]
        assert all(sorted(some) == list(range(SIZES[task])) for some in passes[:whole])
        assert len(set(passes[whole])) == len(passes[whole])


@settings(max_examples=30)
@given(CONFIGS, stages())
def test_what_comes_later_changes_nothing_before_it(config, later):
    longer = config.replace(stages=(*config.stages, later))
    plan = plan_steps(config, SIZES)
    assert plan_steps(longer, SIZES)[: len(plan)] == plan


@every_schedule
@settings(max_examples=15)
@given(count=st.integers(1, 60))
def test_a_stage_of_steps_has_that_many(schedule, count):
    assert len(one_stage(steps=count, batch_schedule=schedule)) == count


@every_schedule
@settings(max_examples=15)
@given(count=st.integers(1, 400))
def test_a_stage_of_examples_ends_with_the_step_that_completes_them(schedule, count):
    plan = one_stage(examples=count, batch_schedule=schedule)
    assert examples(plan[:-1]) < count <= examples(plan)


@every_schedule
@pytest.mark.parametrize("passes", [0.1, 0.5, 1.0, 2.0, 2.3])
def test_a_stage_of_passes_ends_with_as_many_examples_as_the_tasks_have_rows(schedule, passes):
    plan = one_stage(passes=passes, batch_schedule=schedule)
    rows = passes * sum(SIZES[task] for task in small_stage().tasks)
    assert examples(plan[:-1]) < rows <= examples(plan)


@every_schedule
@pytest.mark.parametrize("epochs", [0.3, 0.5, 1, 1.5, 2, 3])
def test_a_stage_of_epochs_is_as_long_as_its_batch_schedule_says(schedule, epochs):
    tasks, whole = small_stage().tasks, len(one_stage(epochs=1, batch_schedule=schedule))
    assert len(one_stage(epochs=epochs, batch_schedule=schedule)) == math.ceil(Fraction(str(epochs)) * whole)
    if schedule in ("smart", "shuffle"):
        seen = Counter[str]()
        for step in one_stage(epochs=2, batch_schedule=schedule):
            seen.update(step.rows)
        assert seen == {task: 2 * SIZES[task] for task in tasks}


@pytest.mark.parametrize("schedule", ["shuffle", "smart"])
def test_every_epoch_is_drawn_anew(schedule):
    tasks = [tuple(step.rows) for step in one_stage(epochs=2, batch_schedule=schedule)]
    assert tasks[: len(tasks) // 2] != tasks[len(tasks) // 2 :]


@settings(max_examples=60)
@given(CONFIGS)
def test_rounds_tile_the_stages(config):
    plan = plan_steps(config, SIZES)
    assume(all(len(steps_of(config, index)) >= stage.rounds for index, stage in enumerate(config.stages)))
    rounds = plan_rounds(config, plan)
    assert [round.number for round in rounds] == list(range(1, 1 + sum(stage.rounds for stage in config.stages)))
    assert (rounds[0].start, rounds[-1].stop) == (0, len(plan))
    assert all(one.stop == other.start for one, other in pairwise(rounds))
    assert all(round.start < round.stop for round in rounds), "every round takes a step"
    assert [round.examples for round in rounds] == [plan[round.stop - 1].examples for round in rounds]
    stages = [{step.stage for step in plan[round.start : round.stop]} for round in rounds]
    assert stages == [{index} for index, stage in enumerate(config.stages) for _ in range(stage.rounds)]


@settings(max_examples=100)
@given(stages())
def test_rounds_of_a_stage_have_equally_many_examples_up_to_a_step(stage):
    config = small_config(stage)
    plan = plan_steps(config, SIZES)
    largest = max(sum(step.rows.values()) for step in plan)
    share = examples(plan) / stage.rounds
    assume(share >= largest)
    rounds = plan_rounds(config, plan)
    ends = [0, *(round.examples for round in rounds)]
    assert all(0 <= end - share * number < largest for number, end in enumerate(ends))
    assert all(abs(end - start - share) < largest for start, end in pairwise(ends))


@settings(max_examples=60)
@given(CONFIGS)
def test_a_round_is_judged_once_every_task_has_been_trained(config):
    plan = plan_steps(config, SIZES)
    assume(all(len(steps_of(config, index)) >= stage.rounds for index, stage in enumerate(config.stages)))
    rounds = plan_rounds(config, plan)
    judged: list[Round] = []
    for round in rounds:
        trained = {task for step in plan[: round.stop] for task in step.rows}
        if trained == set(config.tasks):
            judged.append(round)
            assert round.judged == len(judged)
        else:
            assert round.judged is None


def test_rounds_of_a_stage_on_some_of_the_tasks_are_not_judged():
    config = small_config(small_stage(tasks=("qqp",), rounds=2), small_stage(rounds=3, batch_schedule="cycle"))
    assert [round.judged for round in plan_rounds(config, plan_steps(config, SIZES))] == [None, None, 1, 2, 3]


@every_schedule
def test_fewer_steps_than_rounds_are_refused(schedule):
    config = small_config(small_stage(), small_stage(steps=4, rounds=5, batch_schedule=schedule))
    with pytest.raises(InputError, match="Stage 1 has 4 optimiser steps, fewer than its 5 rounds"):
        plan_rounds(config, plan_steps(config, SIZES))


@every_schedule
def test_as_many_rounds_as_steps_are_a_round_a_step(schedule):
    for steps in range(1, 25):
        config = small_config(small_stage(steps=steps, rounds=steps, batch_schedule=schedule))
        rounds = plan_rounds(config, plan_steps(config, SIZES))
        assert [(round.start, round.stop) for round in rounds] == list(pairwise(range(steps + 1)))


@settings(max_examples=60)
@given(CONFIGS)
def test_the_learning_rate_ends_near_0_with_the_last_step_of_every_stage(config):
    for index in range(len(config.stages)):
        last = steps_of(config, index)[-1]
        assert warmup_then_decay(last.done, last.steps, 0.1) <= 1 / (0.9 * last.steps - 0.5)


def test_a_plan_is_a_function_of_seed_and_sizes():
    config = small_config(small_stage(batch_schedule="smart", epochs=2))
    assert plan_steps(config, SIZES) == plan_steps(config, dict(reversed(SIZES.items())))
    assert plan_steps(config, SIZES) != plan_steps(config.replace(seed=1), SIZES)
    assert set(SIZES) == set(TASKS)
