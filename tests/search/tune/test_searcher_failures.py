"""Test what the searcher does with failures of trials and of the machine."""

import errno
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from search.tune.searcher import StudySearcher
from search.tune.trials.failures import described
from search.tune.trials.retries import WAITS
from tests.search.tune.searched_run import Search
from trainers.faults import MachineError
from trainers.trial import ERROR

FULL = OSError(errno.ENOSPC, "No space left on device", "/runs/x")


def fail(search: Search, searcher: StudySearcher, name: str, error: BaseException) -> None:
    search.listener.error = described(error)
    searcher.on_trial_complete(name, error=True)


def test_a_trial_that_raises_three_times_fails_with_its_reason_and_a_log(search: Search):
    with search.session() as searcher:
        for name in "abc":
            assert searcher.suggest(name)["number"] == 0
            fail(search, searcher, name, ValueError("no"))
    (trial,) = search.run.trials()
    assert (trial.state, trial.reason) == ("FAIL", "ValueError: no")
    again = (0, "ValueError: no", 0)
    assert search.listener.events == [again, again, (0, "FAIL", "ValueError: no")]
    log = trial.folder.read(ERROR).decode()
    assert ("after round 0: ValueError: no" in log and "Traceback" in log) or log.endswith("ValueError: no\n")


def test_a_full_disk_uses_up_no_trial_and_ends_the_search(search: Search):
    with search.session() as searcher:
        searcher.retries.clock = iter(range(0, 10_000, 100)).__next__
        for name in "abcd":
            assert searcher.suggest(name)["number"] == 0, "no other trial begins meanwhile"
            rows = search.train(0, 2) if name == "a" else []
            for row in rows:
                searcher.on_trial_result(name, row.to_json())
            fail(search, searcher, name, FULL)
        with pytest.raises(
            MachineError, match=r"Trial 0 could not be trained .* No space left on device: /runs/x; see .*error\.txt\."
        ):
            searcher.suggest("e")
    frozen, (trial,) = search.study_trials()[0], search.run.trials()
    assert frozen.state == TrialState.RUNNING and trial.state == "RUNNING" and len(trial.rows) == 2
    assert list((search.run.folder.local or Path()).rglob("state.pt"))
    assert [event[2] for event in search.listener.events] == [0, 0, 0, math.inf]
    with search.session() as searcher:
        assert searcher.suggest("a")["number"] == 0


def test_no_trial_begins_while_another_waits_for_the_machine(search: Search):
    with search.session() as searcher:
        searcher.retries.clock = lambda: 0.0
        searcher.suggest("a")
        fail(search, searcher, "a", FULL)
        assert searcher.suggest("b") is None
        searcher.retries.clock = lambda: WAITS[0]
        assert searcher.suggest("b")["number"] == 0
        assert searcher.suggest("c")["number"] == 1
    assert search.listener.events == [(0, "No space left on device: /runs/x", WAITS[0])]


def test_a_config_without_enough_memory_fails_once_another_trial_trains(search: Search):
    with search.session() as searcher:
        searcher.retries.clock = iter(range(0, 10_000, 100)).__next__
        for name in "abcd":
            assert searcher.suggest(name)["number"] == 0
            fail(search, searcher, name, MemoryError())
        assert searcher.suggest("e")["number"] == 1, "another trial shows whether the machine is to blame"
        searcher.on_trial_result("e", search.train(1, 1)[0].to_json())
        searcher.suggest("f")
    assert search.run.trials()[0].state == "FAIL"
    assert search.run.trials()[0].reason == "MemoryError; other trials had no such failure"


def test_a_space_that_raises_for_one_trial_is_reported_with_its_reason_and_log(search: Search):
    with search.session(shape=replace(search.shape, rounds=5)) as searcher:
        assert searcher.suggest("a") is None
    ((number, state, reason),) = search.listener.events
    assert (number, state) == (0, "FAIL") and "do not compare" in reason
    assert "do not compare" in search.run.trial_folder(0).read(ERROR).decode()


def test_an_end_that_cannot_be_written_is_not_taken_for_a_failure_of_the_trial(search: Search, monkeypatch):
    def full(*given: Any) -> None:
        raise FULL

    with search.session() as searcher:
        searcher.suggest("a")
        rows = search.train(0, 4, last=True)
        monkeypatch.setattr("search.tune.searcher.end_trial", full)
        for error in (False, True):  # Tune reports the first error as an error of the trial
            with pytest.raises(OSError, match="No space left"):
                searcher.on_trial_complete("a", None if error else rows[-1].to_json(), error=error)
    monkeypatch.undo()
    assert search.run.trials()[0].state == "RUNNING"
    with search.session() as searcher:
        searcher.suggest("a")
        searcher.on_trial_complete("a", rows[-1].to_json())
    assert search.run.trials()[0].state == "COMPLETE"
