"""Test when a trial that has failed is trained again, when it fails for good, and when the search ends."""

import math

import pytest

from search.tune.trials.retries import FAILURES, WAITS, Retries, Verdict
from trainers.faults import Blame, Fault

FULL = Fault("No space left on device: /runs/x", Blame.MACHINE)
MEMORY = Fault("CUDA out of memory", Blame.UNCLEAR)
RAISED = Fault("ValueError: no", Blame.CONFIG)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def exhausted(retries: Retries, number: int, fault: Fault, clock: Clock) -> None:
    """Let a trial fail until no time is left for it."""
    for wait in WAITS:
        assert not retries.fails(number, fault)
        clock.now += wait
    assert not retries.fails(number, fault) and retries.wait(number) == math.inf


def verdict(retries: Retries, number: int, *, training: bool = False, others: bool = False) -> Verdict:
    return retries.verdict(number, training=training, others=others)


def test_a_trial_that_raises_is_trained_again_at_once_and_fails_after_the_third_time():
    retries = Retries({}, Clock())
    for _ in range(FAILURES - 1):
        assert not retries.fails(0, RAISED)
        assert verdict(retries, 0) == Verdict.RETRY
    assert retries.fails(0, RAISED)


@pytest.mark.parametrize("fault", [FULL, MEMORY])
def test_after_a_fault_of_the_machine_a_trial_waits_longer_each_time_and_holds_the_others(fault):
    clock = Clock()
    retries = Retries({}, clock)
    for wait in WAITS:
        assert not retries.fails(0, fault)
        assert retries.wait(0) == wait and retries.holds(0)
        assert verdict(retries, 0) == Verdict.WAIT
        clock.now += wait
        assert verdict(retries, 0) == Verdict.RETRY
    assert not retries.fails(0, fault)
    assert retries.wait(0) == math.inf and not retries.holds(0)


@pytest.mark.parametrize("fault", [FULL, MEMORY, RAISED])
def test_a_finished_round_ends_a_streak(fault):
    retries = Retries({}, Clock())
    for round in range(1, 20):
        assert not retries.fails(0, fault)
        assert retries.wait(0) == (0 if fault is RAISED else WAITS[0])
        retries.add_round(0, round)


def test_lost_workers_do_not_count_towards_the_failures_of_a_config():
    retries = Retries({}, Clock())
    faults = [MEMORY, MEMORY, RAISED, RAISED]
    assert [retries.fails(0, fault) for fault in [*faults, RAISED]] == [False] * 4 + [True]


def test_a_disk_that_stays_full_ends_the_search_once_nothing_trains_and_fails_no_trial():
    clock = Clock()
    retries = Retries({7: 1}, clock)
    exhausted(retries, 0, FULL, clock)
    assert verdict(retries, 0, training=True) == Verdict.WAIT
    assert verdict(retries, 0, others=True) == Verdict.END
    assert verdict(retries, 0) == Verdict.END


def test_a_trial_whose_own_files_cannot_be_written_is_tried_again_after_the_others():
    clock = Clock()
    retries = Retries({}, clock)
    exhausted(retries, 0, FULL, clock)
    retries.add_round(1, 1)
    assert verdict(retries, 0, training=True, others=True) == Verdict.WAIT
    assert verdict(retries, 0, others=True) == Verdict.WAIT
    assert verdict(retries, 0) == Verdict.RETRY
    exhausted(retries, 0, FULL, clock)
    assert verdict(retries, 0) == Verdict.END


def test_a_config_that_runs_out_of_memory_fails_as_soon_as_another_trial_finishes_a_round():
    clock = Clock()
    retries = Retries({}, clock)
    exhausted(retries, 0, MEMORY, clock)
    assert verdict(retries, 0, training=True) == Verdict.WAIT
    assert verdict(retries, 0, others=True) == Verdict.WAIT
    retries.add_round(1, 1)
    assert verdict(retries, 0, training=True) == Verdict.FAIL


def test_two_trials_that_run_out_of_memory_with_no_round_between_them_end_the_search():
    clock = Clock()
    retries = Retries({7: 1}, clock)
    exhausted(retries, 0, MEMORY, clock)
    exhausted(retries, 1, MEMORY, clock)
    for number in (0, 1):
        assert verdict(retries, number, training=True) == Verdict.WAIT
        assert verdict(retries, number, others=True) == Verdict.END


@pytest.mark.parametrize(("newest", "expected"), [({}, Verdict.END), ({0: 3}, Verdict.END), ({7: 1}, Verdict.FAIL)])
def test_the_last_trial_of_a_search_is_compared_with_the_trials_before_it(newest, expected):
    clock = Clock()
    retries = Retries(newest, clock)
    exhausted(retries, 0, MEMORY, clock)
    assert verdict(retries, 0) == expected


def test_a_round_that_a_resumed_trial_reports_again_does_not_end_its_streak():
    retries = Retries({0: 3}, Clock())
    for wait in WAITS:
        assert not retries.fails(0, MEMORY) and retries.wait(0) == wait
        retries.add_round(0, 3)
    retries.add_round(0, 4)
    assert not retries.fails(0, MEMORY) and retries.wait(0) == WAITS[0]
