import os
import subprocess
import sys
from collections import Counter
from itertools import combinations
from math import comb

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainers.methods.batch_schedules import BATCH_SCHEDULES, PROGRESSIVE, batch_counts, proportional_sizes, shares

ANY_SIZES = st.dictionaries(st.sampled_from(["sst", "qqp", "sts", "cfimdb"]), st.integers(1, 300), min_size=1)
ANY_BATCH_SIZES = st.fixed_dictionaries({task: st.integers(1, 64) for task in ["sst", "qqp", "sts", "cfimdb"]})
SEEDS = st.integers(0, 2**32)
COURSE = {"sst": 8544, "qqp": 283010, "sts": 6040}
DRAWN = {"annealed", "temperature"}
"""Schedules that draw tasks with replacement: an epoch may lack a task."""
OF_THE_ORDER = {"sequential", "simultaneous"}
"""Schedules whose plan depends on the order of the tasks."""
WHOLE = {"shuffle", "smart_round_robin", "sequential"}
"""Schedules that take every batch of every task exactly once per epoch."""

every_schedule = pytest.mark.parametrize("name", BATCH_SCHEDULES)


def all_but(names):
    assert names < BATCH_SCHEDULES.keys()
    return pytest.mark.parametrize("name", [name for name in BATCH_SCHEDULES if name not in names])


def plan(name, sizes, batch_sizes, seed=0, progress=0.5):
    batch_sizes = {task: batch_sizes[task] for task in sizes}
    return BATCH_SCHEDULES[name](sizes, batch_sizes, progress, torch.Generator().manual_seed(seed))


def batches(plan):
    return Counter(task for step in plan for task in step)


@every_schedule
@settings(max_examples=30, deadline=None)
@given(sizes=ANY_SIZES, batch_sizes=ANY_BATCH_SIZES, seed=SEEDS)
def test_a_plan_is_a_function_of_its_generator(name, sizes, batch_sizes, seed):
    state = torch.get_rng_state()
    assert plan(name, sizes, batch_sizes, seed) == plan(name, sizes, batch_sizes, seed)
    assert torch.equal(torch.get_rng_state(), state), "a draw came from the global generator"


@every_schedule
@settings(max_examples=30, deadline=None)
@given(sizes=ANY_SIZES, batch_sizes=ANY_BATCH_SIZES, seed=SEEDS)
def test_every_step_has_tasks_of_the_stage_each_once_in_its_order(name, sizes, batch_sizes, seed):
    steps = plan(name, sizes, batch_sizes, seed)
    assert all(step and step == tuple(task for task in sizes if task in step) for step in steps)


@all_but(DRAWN)
@settings(max_examples=30, deadline=None)
@given(sizes=ANY_SIZES, batch_sizes=ANY_BATCH_SIZES, seed=SEEDS)
def test_every_epoch_has_a_batch_of_every_task(name, sizes, batch_sizes, seed):
    assert set(batches(plan(name, sizes, batch_sizes, seed))) == set(sizes)


@every_schedule
@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 300), batch_size=st.integers(1, 64), seed=SEEDS)
def test_a_single_task_is_in_every_step_of_about_one_pass_over_its_rows(name, size, batch_size, seed):
    steps = plan(name, {"sst": size}, {"sst": batch_size}, seed)
    assert set(steps) == {("sst",)}
    assert len(steps) in (max(1, size // batch_size), -(-size // batch_size))


def test_plans_are_the_same_in_every_process():
    program = (
        "import hashlib, torch\n"
        "from trainers.methods.batch_schedules import BATCH_SCHEDULES as known\n"
        "sizes, batches = {'sst': 85, 'qqp': 283, 'sts': 60}, {'sst': 4, 'qqp': 16, 'sts': 3}\n"
        "plans = [known[name](sizes, batches, 0.5, torch.Generator().manual_seed(7)) for name in sorted(known)]\n"
        "print(hashlib.sha256(repr(plans).encode()).hexdigest())"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], env=environment | {"PYTHONHASHSEED": salt}, stdout=subprocess.PIPE
        )
        for salt in ("1", "2")
    ]
    first, second = (process.communicate()[0] for process in started)
    assert first and first == second


@every_schedule
@settings(max_examples=30, deadline=None)
@given(sizes=ANY_SIZES, batch_sizes=ANY_BATCH_SIZES, seed=SEEDS)
def test_an_epoch_has_the_documented_number_of_steps(name, sizes, batch_sizes, seed):
    counts = batch_counts(sizes, batch_sizes)
    largest = max(sorted(sizes), key=sizes.__getitem__)
    promised = {
        "equal": min(counts.values()),
        "cycle": max(counts.values()),
        "smart_round_robin": max(counts.values()),
        "interleaved": max(1, sizes[largest] // batch_sizes[largest]),
        "simultaneous": counts[next(iter(sizes))],
    }
    assert len(plan(name, sizes, batch_sizes, seed)) == promised.get(name, sum(counts.values()))


@pytest.mark.parametrize("name", sorted(WHOLE))
@settings(max_examples=50, deadline=None)
@given(sizes=ANY_SIZES, batch_sizes=ANY_BATCH_SIZES, seed=SEEDS)
def test_schedules_of_whole_epochs_take_every_batch_exactly_once(name, sizes, batch_sizes, seed):
    assert batches(plan(name, sizes, batch_sizes, seed)) == batch_counts(sizes, batch_sizes)


@pytest.mark.parametrize("name", ["shuffle", "sequential", *sorted(DRAWN)])
@settings(max_examples=30, deadline=None)
@given(sizes=ANY_SIZES, batch_sizes=ANY_BATCH_SIZES, seed=SEEDS)
def test_schedules_that_draw_tasks_take_one_task_per_step(name, sizes, batch_sizes, seed):
    assert all(len(step) == 1 for step in plan(name, sizes, batch_sizes, seed))


@settings(max_examples=50, deadline=None)
@given(sizes=ANY_SIZES, batch_sizes=ANY_BATCH_SIZES, seed=SEEDS)
def test_smart_round_robin_has_the_task_with_most_batches_in_every_step(sizes, batch_sizes, seed):
    counts = batch_counts(sizes, batch_sizes)
    steps = plan("smart_round_robin", sizes, batch_sizes, seed)
    assert len(steps) == max(counts.values())
    assert all(task in step for task, count in counts.items() if count == len(steps) for step in steps)


@all_but(OF_THE_ORDER)
@pytest.mark.parametrize("sizes", [{"sst": 40, "qqp": 100, "sts": 30}, {"sst": 90, "qqp": 90, "sts": 90}])
def test_the_order_of_the_tasks_in_a_config_does_not_change_which_tasks_share_a_step(name, sizes):
    batch_sizes = {"sst": 4, "qqp": 3, "sts": 2}
    turned = plan(name, dict(reversed(sizes.items())), batch_sizes)
    assert [set(step) for step in plan(name, sizes, batch_sizes)] == [set(step) for step in turned]


@pytest.mark.parametrize("name", ["shuffle", "smart_round_robin", *sorted(DRAWN)])
def test_another_generator_gives_another_plan(name):
    sizes, batch_sizes = {"sst": 40, "qqp": 100}, {"sst": 4, "qqp": 4}
    assert plan(name, sizes, batch_sizes, seed=1) != plan(name, sizes, batch_sizes, seed=2)


def drawn_places(task, epochs):
    """Return the steps of a task with 3 batches beside a task with 6 batches, over many epochs."""
    sizes = {"sst": 3, "qqp": 6, "sts": 3}
    ones = dict.fromkeys(sizes, 1)
    plans = [plan("smart_round_robin", sizes, ones, seed) for seed in range(epochs)]
    return [tuple(place for place, step in enumerate(steps) if task in step) for steps in plans]


@pytest.mark.parametrize("task", ["sst", "sts"])
def test_smart_round_robin_draws_every_subset_of_steps_equally_often(task):
    drawn = Counter(drawn_places(task, 2000))
    observed = [drawn[places] for places in combinations(range(6), 3)]
    assert sum(observed) == 2000
    assert stats.chisquare(observed).pvalue > 1e-3, observed


def test_smart_round_robin_draws_the_steps_of_each_task_independently():
    meetings = Counter(
        len(set(left) & set(right))
        for left, right in zip(drawn_places("sst", 2000), drawn_places("sts", 2000), strict=True)
    )
    expected = [2000 * comb(3, meet) * comb(3, 3 - meet) / comb(6, 3) for meet in range(4)]
    assert stats.chisquare([meetings[meet] for meet in range(4)], expected).pvalue > 1e-3, meetings


def test_cycle_takes_a_pass_over_the_task_with_most_batches_and_repeats_the_others():
    steps = plan("cycle", COURSE, dict.fromkeys(COURSE, 16))
    assert steps == [("sst", "qqp", "sts")] * 17689


def test_equal_takes_a_pass_over_the_task_with_fewest_batches():
    assert plan("equal", COURSE, dict.fromkeys(COURSE, 16)) == [("sst", "qqp", "sts")] * 378  # report 004


def test_sequential_takes_one_task_after_the_other_in_the_order_of_the_config():
    sizes = {"sst": 9, "sts": 4, "qqp": 11}
    steps = plan("sequential", sizes, dict.fromkeys(sizes, 4))
    assert steps == [("sst",)] * 3 + [("sts",)] + [("qqp",)] * 3


def test_the_batches_of_report_001_are_in_proportion_to_the_rows_of_its_tasks():
    assert proportional_sizes({"qqp": 141506, "sst": 8544, "sts": 6040}, 64) == {"qqp": 64, "sst": 3, "sts": 2}
    assert proportional_sizes({"qqp": 141506, "sst": 8544, "sts": 6040}, 16) == {"qqp": 16, "sst": 1, "sts": 1}


@settings(max_examples=50, deadline=None)
@given(sizes=ANY_SIZES, largest=st.integers(1, 64))
def test_proportional_batches_are_largest_for_the_largest_task_and_never_empty(sizes, largest):
    batch_sizes = proportional_sizes(sizes, largest)
    assert batch_sizes[max(sizes, key=sizes.__getitem__)] == largest
    assert all(1 <= batch <= largest for batch in batch_sizes.values())


def test_interleaved_passes_through_all_tasks_at_about_the_same_speed():
    sizes, batch_sizes = COURSE | {"qqp": 141506}, {"sst": 3, "qqp": 64, "sts": 2}
    taken = {
        task: count * batch_sizes[task] for task, count in batches(plan("interleaved", sizes, batch_sizes)).items()
    }
    assert taken == {"sst": 6633, "qqp": 141504, "sts": 4422}  # report 001 at its 64/3/2


def test_interleaved_takes_a_step_even_if_no_batch_is_full():
    assert plan("interleaved", {"sst": 3, "qqp": 5}, {"sst": 16, "qqp": 16}) == [("sst", "qqp")]


def test_interleaved_counts_by_the_largest_task_not_by_the_largest_batch():
    assert len(plan("interleaved", {"sst": 10, "qqp": 100}, {"sst": 20, "qqp": 5})) == 20


def test_simultaneous_takes_a_pass_over_the_first_task():
    steps = plan("simultaneous", COURSE, dict.fromkeys(COURSE, 8))
    assert steps == [("sst", "qqp", "sts")] * 1068  # report 002: 85,440 QQP rows in 10 epochs
    assert len(plan("simultaneous", dict(reversed(COURSE.items())), dict.fromkeys(COURSE, 8))) == 755


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [(1.0, (0.029, 0.951, 0.020)), (0.5, (0.132, 0.758, 0.111)), (0.2, (0.253, 0.510, 0.236)), (0.0, (1 / 3,) * 3)],
)
def test_the_shares_of_the_course_s_tasks_equal_hand_computed_values(exponent, expected):
    found = shares(COURSE, exponent)
    assert [found[task] for task in ("sst", "qqp", "sts")] == pytest.approx(expected, abs=6e-4)
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "progress", "exponent"),
    [("annealed", 0.0, 1.0), ("annealed", 0.5, 0.6), ("annealed", 1.0, 0.2), ("temperature", 0.0, 0.5)],
)
def test_tasks_are_drawn_in_proportion_to_their_shares(name, progress, exponent):
    sizes = {"sst": 2000, "qqp": 30000, "sts": 1500}
    drawn, expected = batches(plan(name, sizes, dict.fromkeys(sizes, 8), 3, progress)), shares(sizes, exponent)
    total = sum(drawn.values())
    observed = [drawn[task] for task in expected]
    assert stats.chisquare(observed, [share * total for share in expected.values()]).pvalue > 1e-3, observed


@every_schedule
def test_exactly_the_progressive_schedules_depend_on_progress_and_their_length_does_not(name):
    sizes, batch_sizes = {"sst": 40, "qqp": 100}, {"sst": 4, "qqp": 4}
    early, late = (plan(name, sizes, batch_sizes, progress=progress) for progress in (0.0, 1.0))
    assert (early != late) == (name in PROGRESSIVE)
    assert len(early) == len(late)
