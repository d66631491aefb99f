"""Test the step plan: durations of stages, rounds, and streams of rows that continue from stage to stage."""

import math
import sys
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
from trainers.config.train_config import Stage, TrainConfig
from trainers.data.batches import next_rows
from trainers.methods.batch_schedules import BATCH_SCHEDULES, annealed, shares
from trainers.training.optimizer import warmup_then_decay
from trainers.training.step_plan import BLOCK, Step, plan, plan_rounds, plan_steps, stream_name

TASK_SIZES = {"sst": 40, "qqp": 70, "sts": 23, "cfimdb": 9}
SIZES = TASK_SIZES | {"imdb": 31, "snli": 55}
DURATIONS = st.one_of(
    st.fixed_dictionaries({"steps": st.integers(1, 30)}),
    st.fixed_dictionaries({"examples": st.integers(1, 300)}),
    st.fixed_dictionaries({"passes": st.floats(0.01, 3)}),
    st.fixed_dictionaries({"epochs": st.floats(0.01, 2.5)}),
)
every_schedule = pytest.mark.parametrize("schedule", BATCH_SCHEDULES)


@st.composite
def stages(draw: st.DrawFn, objectives: tuple[str, ...] = ("supervised", "mlm", "simcse")) -> Stage:
    objective = draw(st.sampled_from(objectives))
    tasks = draw(st.lists(st.sampled_from(list(TASK_SIZES)), min_size=1, unique=True))
    texts = [] if objective == "supervised" else draw(st.lists(st.sampled_from(["imdb", "snli"]), unique=True))
    sources = tasks + texts
    return small_stage(
        objective=objective,
        tasks=tuple(tasks),
        texts=tuple(texts),
        batch_schedule=draw(st.sampled_from(list(BATCH_SCHEDULES))),
        batch_size=draw(st.fixed_dictionaries({source: st.integers(1, 32) for source in sources})),
        update=draw(st.sampled_from(["together", "separate"] if len(sources) > 1 else ["together"])),
        rounds=draw(st.integers(1, 6)),
        **draw(DURATIONS),
    )


CONFIGS = st.tuples(st.lists(stages(), max_size=2), stages(("supervised",)), st.lists(stages(), max_size=1)).map(
    lambda parts: small_config(*parts[0], parts[1], *parts[2])
)


def steps_of(config: TrainConfig, index: int) -> list[Step]:
    return [step for step in plan_steps(config, SIZES) if step.stage == index]


def one_stage(**changes: Any) -> list[Step]:
    return plan_steps(small_config(small_stage(rounds=1, **changes)), SIZES)


def examples(steps: list[Step]) -> int:
    return sum(sum(step.rows.values()) for step in steps)


@settings(max_examples=60)
@given(CONFIGS)
def test_steps_know_their_place_in_the_stage_and_the_examples_so_far(config):
    steps = plan_steps(config, SIZES)
    assert [step.examples for step in steps] == np.cumsum([sum(step.rows.values()) for step in steps]).tolist()
    assert [step.stage for step in steps] == sorted(step.stage for step in steps)
    for index, stage in enumerate(config.stages):
        own = [step for step in steps if step.stage == index]
        assert [(step.done, step.steps) for step in own] == [(done, len(own)) for done in range(len(own))]
        assert own, "every stage has a step"
        sizes = stage.batch_sizes(SIZES)
        spare = {source: stage.objective == "simcse" and size <= 2 for source, size in sizes.items()}
        assert all(0 < rows <= sizes[source] + spare[source] for step in own for source, rows in step.rows.items())


@settings(max_examples=60)
@given(CONFIGS)
def test_streams_continue_across_stages_and_repeat_no_row_within_an_epoch(config):
    rows: dict[tuple[str, str], list[int]] = {}
    for step in plan_steps(config, SIZES):
        stage = config.stages[step.stage]
        for source, count in step.rows.items():
            name = stream_name(stage, source)
            seen = rows.setdefault((source, name), [])
            batch = next_rows(SIZES[source], config.seed, name, len(seen), count)
            assert len(batch) == count, "a planned batch crosses the end of an epoch"
            seen += batch.tolist()
    for (source, _), seen in rows.items():
        whole = len(seen) // SIZES[source]
        epochs = [seen[number * SIZES[source] : (number + 1) * SIZES[source]] for number in range(whole + 1)]
        assert all(sorted(some) == list(range(SIZES[source])) for some in epochs[:whole])
        assert len(set(epochs[whole])) == len(epochs[whole])


@pytest.mark.parametrize(
    ("size", "batch_size", "expected"),
    [(65, 64, [63, 2]), (9, 4, [4, 3, 2]), (5, 2, [2, 3]), (3, 2, [3]), (8, 4, [4, 4]), (2, 64, [2])],
)
def test_no_batch_of_simcse_has_a_single_row(size, batch_size, expected):
    """A single row has no negatives: its loss is 0. Other objectives keep a last batch of one row."""
    found = {
        objective: plan_steps(
            small_config(
                small_stage(objective=objective, tasks=("sst",), batch_size=batch_size, examples=2 * size),
                small_stage(tasks=("sst",)),
            ),
            {"sst": size},
        )
        for objective in ("simcse", "mlm")
    }
    rows = {objective: [step.rows["sst"] for step in steps if not step.stage] for objective, steps in found.items()}
    assert rows["simcse"] == 2 * expected
    assert (1 in rows["mlm"]) == (size % batch_size == 1)


def test_every_objective_has_its_own_streams():
    stages = [small_stage(objective=objective) for objective in ("supervised", "mlm", "simcse")]
    assert len({stream_name(stage, "sst") for stage in stages}) == 3
    assert stream_name(stages[0], "sst") == "sst"


def test_further_pretraining_takes_no_rows_from_the_supervised_streams():
    supervised = small_stage(epochs=2, batch_schedule="cycle")
    alone = plan_steps(small_config(supervised), SIZES)
    pretraining = small_stage(objective="mlm", tasks=("sst",), texts=("imdb",), steps=7, batch_size=9)
    after = plan_steps(small_config(pretraining, supervised), SIZES)
    assert [step.rows for step in after[7:]] == [step.rows for step in alone]


def test_a_supervised_stage_continues_the_streams_of_the_stage_before():
    first, second = (
        small_stage(tasks=("sst",), steps=4, batch_size=9),
        small_stage(tasks=("sst",), steps=2, batch_size=9),
    )
    rows = [step.rows["sst"] for step in plan_steps(small_config(first, second), SIZES)]
    assert rows == [9, 9, 9, 9, 4, 9]  # an epoch has 40 rows


@settings(max_examples=30)
@given(CONFIGS, stages())
def test_a_later_stage_does_not_change_the_steps_before_it(config, later):
    longer = config.replace(stages=(*config.stages, later))
    steps = plan_steps(config, SIZES)
    assert plan_steps(longer, SIZES)[: len(steps)] == steps


@every_schedule
@settings(max_examples=15)
@given(count=st.integers(1, 60))
def test_a_duration_in_steps_is_the_number_of_steps(schedule, count):
    assert len(one_stage(steps=count, batch_schedule=schedule)) == count


@every_schedule
@settings(max_examples=15)
@given(count=st.integers(1, 400))
def test_a_duration_in_examples_ends_with_the_step_that_reaches_them(schedule, count):
    steps = one_stage(examples=count, batch_schedule=schedule)
    assert examples(steps[:-1]) < count <= examples(steps)


@every_schedule
@pytest.mark.parametrize("passes", [0.1, 0.5, 1.0, 2.0, 2.3])
def test_a_duration_in_passes_ends_with_the_step_that_reaches_the_rows_of_all_tasks(schedule, passes):
    steps = one_stage(passes=passes, batch_schedule=schedule)
    rows = passes * sum(SIZES[task] for task in small_stage().tasks)
    assert examples(steps[:-1]) < rows <= examples(steps)


@every_schedule
@pytest.mark.parametrize("epochs", [0.3, 0.5, 1, 1.5, 2, 3])
def test_a_duration_in_epochs_is_in_epochs_of_the_batch_schedule(schedule, epochs):
    whole = len(one_stage(epochs=1, batch_schedule=schedule))
    assert len(one_stage(epochs=epochs, batch_schedule=schedule)) == math.ceil(Fraction(str(epochs)) * whole)


@pytest.mark.parametrize("schedule", ["shuffle", "smart_round_robin", "sequential"])
@pytest.mark.parametrize("update", ["together", "separate"])
def test_two_epochs_of_a_schedule_of_all_batches_take_every_row_twice(schedule, update):
    seen = Counter[str]()
    for step in one_stage(epochs=2, batch_schedule=schedule, update=update):
        seen.update(step.rows)
    assert seen == {task: 2 * SIZES[task] for task in small_stage().tasks}


@every_schedule
def test_separate_updates_have_the_same_batches_with_one_step_per_batch(schedule):
    together, separate = (
        one_stage(epochs=2, batch_schedule=schedule, update=update) for update in ("together", "separate")
    )
    singles = [{task: rows} for step in together for task, rows in step.rows.items()]
    assert [step.rows for step in separate] == singles


def test_a_duration_in_steps_counts_optimiser_steps_with_separate_updates_too():
    steps = one_stage(steps=7, batch_schedule="cycle", update="separate")
    assert [tuple(step.rows) for step in steps] == [("sst",), ("qqp",), ("sts",)] * 2 + [("sst",)]
    assert {step.steps for step in steps} == {7}


PROGRESS = [
    ({"epochs": 1}, [0.0]),
    ({"epochs": 3}, [0.0, 1 / 3, 2 / 3]),
    ({"epochs": 2.5}, [0.0, 0.4, 0.8]),
    ({"steps": 20}, [0.0, 0.45, 0.9]),  # 9 steps per epoch
    ({"examples": 500}, [0.0, 0.422, 0.844]),  # 72 of sst, 70 of qqp, 69 of sts per epoch
]


@pytest.mark.parametrize(("duration", "expected"), PROGRESS)
def test_a_batch_schedule_receives_the_completed_share_of_the_stage(duration, expected, monkeypatch):
    progresses = []

    def recorded(sizes, batch_sizes, progress, generator):
        progresses.append(progress)
        return BATCH_SCHEDULES["cycle"](sizes, batch_sizes, progress, generator)

    monkeypatch.setitem(BATCH_SCHEDULES, "recorded", recorded)
    one_stage(batch_schedule="recorded", **duration)
    assert progresses == pytest.approx(expected)


ANNEALED: dict[str, dict[str, Any]] = {
    "passes": {"passes": 1.5},
    "a tenth of a pass": {"passes": 0.1},
    "steps": {"steps": 700},
    "examples": {"examples": 5000},
    "one epoch": {"epochs": 1},
    "epochs": {"epochs": 2.5},
}


@pytest.mark.parametrize("duration", ANNEALED.values(), ids=ANNEALED)
def test_annealed_sampling_follows_the_share_of_the_stage_that_is_done(duration, monkeypatch):
    """Stickland and Murray 2019: alpha = 1 - 0.8 * progress, over the whole stage, for every kind of duration."""
    sizes, alphas = {"sst": 900, "qqp": 20_000, "sts": 600}, []

    def recorded(sizes, batch_sizes, progress, generator):
        alphas.append(1 - 0.8 * progress)
        return annealed(sizes, batch_sizes, progress, generator)

    monkeypatch.setitem(BATCH_SCHEDULES, "annealed", recorded)
    stage = small_stage(batch_schedule="annealed", batch_size=8, rounds=1, **duration)
    steps = plan_steps(small_config(stage), sizes)
    assert alphas == sorted(alphas, reverse=True)
    assert (alphas[0], alphas[-1]) == (1, pytest.approx(0.2, abs=0.8 * 2 * max(BLOCK, 1 / len(steps))))
    assert max(-np.diff(alphas)) < 0.8 * (BLOCK + 2 / len(steps)) + 1e-9
    tasks = [task for step in steps for task in step.rows]
    for part in (0, 1, 2):  # the tasks that are drawn, not only the exponent
        third = tasks[len(tasks) * part // 3 : len(tasks) * (part + 1) // 3]
        expected = shares(sizes, 1 - 0.8 * (2 * part + 1) / 6)["qqp"]
        error = 4 * (expected * (1 - expected) / len(third)) ** 0.5  # four standard errors
        assert third.count("qqp") / len(third) == pytest.approx(expected, abs=error + 0.02)


def test_annealed_sampling_advances_with_the_examples_and_not_with_the_steps():
    """Batches of qqp have 64 rows, all others 1: half of the examples are taken long before half of the steps."""
    stage = small_stage(batch_schedule="annealed", batch_size={"sst": 1, "qqp": 64, "sts": 1}, passes=1.0)
    steps = plan_steps(small_config(stage), {"sst": 900, "qqp": 20_000, "sts": 600})
    middle = next(step.done for step in steps if step.examples >= steps[-1].examples / 2)
    assert middle < 0.45 * len(steps)


def test_a_schedule_that_ignores_progress_is_planned_once_per_epoch(monkeypatch):
    calls = []

    def recorded(*given):
        calls.append(given)
        return BATCH_SCHEDULES["shuffle"](*given)

    monkeypatch.setitem(BATCH_SCHEDULES, "recorded", recorded)
    one_stage(batch_schedule="recorded", epochs=3)
    assert len(calls) == 3


@pytest.mark.parametrize("schedule", ["shuffle", "smart_round_robin", "annealed", "temperature"])
def test_every_epoch_has_new_draws(schedule):
    tasks = [tuple(step.rows) for step in one_stage(epochs=2, batch_schedule=schedule)]
    assert tasks[: len(tasks) // 2] != tasks[len(tasks) // 2 :]


@settings(max_examples=60)
@given(CONFIGS)
def test_the_rounds_of_a_stage_cover_its_steps_without_gaps(config):
    steps = plan_steps(config, SIZES)
    assume(all(len(steps_of(config, index)) >= stage.rounds for index, stage in enumerate(config.stages)))
    rounds = plan_rounds(config, steps)
    assert [round.number for round in rounds] == list(range(1, 1 + sum(stage.rounds for stage in config.stages)))
    assert (rounds[0].start, rounds[-1].stop) == (0, len(steps))
    assert all(one.stop == other.start for one, other in pairwise(rounds))
    assert all(round.start < round.stop for round in rounds), "every round has a step"
    assert [round.examples for round in rounds] == [steps[round.stop - 1].examples for round in rounds]
    stages = [{step.stage for step in steps[round.start : round.stop]} for round in rounds]
    assert stages == [{index} for index, stage in enumerate(config.stages) for _ in range(stage.rounds)]


@settings(max_examples=100)
@given(stages(("supervised",)))
def test_rounds_of_a_stage_differ_by_less_than_one_step_of_examples(stage):
    config = small_config(stage)
    steps = plan_steps(config, SIZES)
    largest = max(sum(step.rows.values()) for step in steps)
    share = examples(steps) / stage.rounds
    assume(share >= largest)
    rounds = plan_rounds(config, steps)
    ends = [0, *(round.examples for round in rounds)]
    assert all(0 <= end - share * number < largest for number, end in enumerate(ends))
    assert all(abs(end - start - share) < largest for start, end in pairwise(ends))


@settings(max_examples=60)
@given(CONFIGS, st.sets(st.sampled_from(list(TASK_SIZES))))
def test_a_round_is_judged_once_every_task_of_a_supervised_stage_has_been_trained(config, also):
    config = config.replace(also_scored=tuple(sorted(also)))
    steps = plan_steps(config, SIZES)
    assume(all(len(steps_of(config, index)) >= stage.rounds for index, stage in enumerate(config.stages)))
    trains = {task for stage in config.stages if stage.supervised for task in stage.tasks}
    judged = 0
    for round in plan_rounds(config, steps):
        trained = {task for step in steps[: round.stop] if config.stages[step.stage].supervised for task in step.rows}
        if trained == trains:
            judged += 1
            assert round.judged == judged
            assert round.scored == config.tasks
        else:
            assert round.judged is None
            ends = steps[round.stop - 1].done == steps[round.stop - 1].steps - 1
            assert round.scored == tuple(task for task in config.tasks if ends and task in trained)


def test_rounds_before_all_tasks_are_trained_are_not_judged():
    config = small_config(small_stage(tasks=("qqp",), rounds=2), small_stage(rounds=3, batch_schedule="cycle"))
    rounds = plan_rounds(config, plan_steps(config, SIZES))
    assert [round.judged for round in rounds] == [None, None, 1, 2, 3]
    assert [round.scored for round in rounds] == [(), ("qqp",)] + [("qqp", "sst", "sts")] * 3


def test_rounds_of_further_pretraining_are_not_judged_and_evaluate_no_task():
    pretraining = small_stage(objective="mlm", tasks=("sst",), texts=("imdb",), rounds=2)
    config = small_config(pretraining, small_stage(tasks=("sst",), rounds=1), also_scored=("sts",))
    rounds = plan_rounds(config, plan_steps(config, SIZES))
    assert [(round.judged, round.scored) for round in rounds] == [(None, ()), (None, ()), (1, ("sst", "sts"))]


@pytest.mark.parametrize("first", [{"objective": "mlm"}, {"objective": "supervised"}])
def test_a_stage_without_judged_rounds_has_at_most_a_round_per_step(first):
    config = small_config(small_stage(tasks=("qqp",), steps=2, rounds=10, **first), small_stage(rounds=2))
    rounds = plan_rounds(config, plan_steps(config, SIZES))
    assert [(round.start, round.stop, round.judged) for round in rounds[:2]] == [(0, 1, None), (1, 2, None)]
    assert [round.judged for round in rounds[2:]] == [1, 2]


@every_schedule
def test_fewer_steps_than_rounds_are_an_input_error(schedule):
    config = small_config(small_stage(), small_stage(steps=4, rounds=5, batch_schedule=schedule))
    with pytest.raises(InputError, match="Stage 1 has 4 optimiser steps, fewer than its 5 rounds"):
        plan_rounds(config, plan_steps(config, SIZES))


@every_schedule
def test_with_as_many_rounds_as_steps_every_round_has_one_step(schedule):
    for steps in range(1, 25):
        config = small_config(small_stage(steps=steps, rounds=steps, batch_schedule=schedule))
        rounds = plan_rounds(config, plan_steps(config, SIZES))
        assert [(round.start, round.stop) for round in rounds] == list(pairwise(range(steps + 1)))


@settings(max_examples=60)
@given(CONFIGS)
def test_the_learning_rate_is_near_0_in_the_last_step_of_every_stage(config):
    for index in range(len(config.stages)):
        last = steps_of(config, index)[-1]
        assert warmup_then_decay(last.done, last.steps, 0.1) <= 1 / (0.9 * last.steps - 0.5)


def test_a_plan_depends_on_the_seed_and_not_on_the_order_of_the_sizes():
    config = small_config(small_stage(batch_schedule="smart_round_robin", epochs=2))
    assert plan_steps(config, SIZES) == plan_steps(config, dict(reversed(SIZES.items())))
    assert plan_steps(config, SIZES) != plan_steps(config.replace(seed=1), SIZES)


@pytest.mark.parametrize("schedule", [name for name in BATCH_SCHEDULES if name not in ("sequential", "simultaneous")])
def test_the_order_of_the_tasks_does_not_change_the_steps(schedule):
    reverse = tuple(reversed(small_stage().tasks))
    one, other = (one_stage(epochs=3, batch_schedule=schedule, tasks=tasks) for tasks in (small_stage().tasks, reverse))
    assert [dict(step.rows) for step in one] == [dict(step.rows) for step in other]


def test_equal_steps_of_a_plan_share_one_mapping_of_rows():
    steps = one_stage(steps=5000, batch_schedule="cycle")
    assert len({id(step.rows) for step in steps}) == len({tuple(step.rows.items()) for step in steps})


def test_a_plan_takes_the_sizes_of_all_sources_from_the_corpus(corpus):
    pretraining = small_stage(objective="mlm", tasks=("cfimdb",), texts=("imdb",))
    config = small_config(pretraining, small_stage(tasks=("sst",)))
    steps, rounds = plan(config, corpus)
    sizes = corpus.train_sizes(["cfimdb", "imdb", "sst"])
    assert steps == plan_steps(config, sizes)
    assert rounds == plan_rounds(config, steps)


@pytest.mark.parametrize("changes", [{"tasks": ("sst", "rte")}, {"texts": ("rte",), "objective": "mlm"}])
def test_a_task_or_text_set_that_the_corpus_lacks_is_an_input_error(corpus, changes):
    with pytest.raises(InputError, match="'rte'"):
        plan(small_config(small_stage(**changes), small_stage()), corpus)


def test_a_surgery_whose_library_is_not_installed_is_an_input_error(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)  # makes the import fail
    with pytest.raises(InputError, match="Surgery 'mgda' needs torchjd"):
        plan(small_config(small_stage(surgery="mgda")), corpus)
