"""Test faults in a real search: a worker that is killed in every round, and a trial that cannot write its files."""

import contextlib
import os
import re
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.runs.run import Run
from tests.search.searching import SPACE, command, rows, study_trials
from tests.waiting import wait_for
from trainers.folder import Folder

ROUND_COUNT = 4
KILLS = 3


def workers() -> list[int]:
    """Return the ids of this process's descendants that train a trial."""
    parents, titles = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(place.name)] = (place / "cmdline").read_text()

    def below(process: int) -> bool:
        return process == os.getpid() or (process in parents and below(parents[process]))

    return [process for process, title in titles.items() if re.match("ray::.*Trainable", title) and below(process)]


def kill_workers(run: Path) -> None:
    """Kill the worker after each of the first rounds, when the driver knows of the round."""
    wait_for(lambda: rows(run))
    for finished in range(1, KILLS + 1):
        wait_for(lambda finished=finished: len(study_trials(run)[0].intermediate_values) >= finished)
        (worker,) = wait_for(workers)  # there is no worker while Ray replaces the last worker
        os.kill(worker, signal.SIGKILL)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, finish_here) -> Run:
    """Run a search in which the first trial's worker is killed in each round, and the second cannot write files."""
    place = tmp_path_factory.mktemp("faulty")
    (place / "space.py").write_text(SPACE)
    blocked = place / "run" / "trials" / "00001" / "predictions"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a directory should be")
    options = ("--trials", "3", "--concurrency", "1", "--trial-scheduler", "none")
    wait_for(lambda: not workers())  # until the workers of earlier searches have ended
    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.tune.trials.retries.WAITS", (0.5, 1.0, 2.0))
        killing = pool.submit(kill_workers, place / "run")
        done = finish_here(command(place / "space.py", place, tiny_encoder, *options))
        killing.result()
    assert done.returncode == 0, done.stdout + done.stderr
    (place / "printed").write_text(done.stdout)
    return Run(Folder.at(place / "run"))


def test_a_trial_whose_worker_is_killed_in_every_round_completes_and_no_round_is_trained_twice(faulty: Run):
    trial = faulty.trials()[0]
    assert trial.state == "COMPLETE" and list(trial.scores) == list(range(1, ROUND_COUNT + 1))
    counts = Counter((number, row.round) for number, row in rows(faulty.folder.local or Path()))
    assert set(counts.values()) == {1}


def test_a_trial_that_keeps_failing_fails_with_its_reason_and_the_search_continues(faulty: Run):
    first, second, third = faulty.trials()
    assert second.state == "FAIL" and second.rows == []
    assert "predictions is a file, not a folder" in str(second.reason)
    assert third.state == "COMPLETE"
    assert {trial.number for trial, _ in faulty.rounds_with_weights()} == {first.number, third.number}


def test_every_failure_is_one_line_with_its_reason_and_the_path_of_a_log(faulty: Run):
    assert faulty.folder.local
    printed = (faulty.folder.local.parent / "printed").read_text().splitlines()
    lost = [line for line in printed if "trial 0 failed: the worker process of the trial was lost: " in line]
    assert len(lost) == KILLS
    for number, line in enumerate(lost, 1):
        log = faulty.trial_folder(0) / "error.txt"
        assert line.endswith(f"; it continues after round {number} in 0 s; see {log}")
    raised = [line for line in printed if "trial 1 failed: " in line]
    assert len(raised) == 3 and all(str(faulty.trial_folder(1) / "error.txt") in line for line in raised)
    assert raised[-1].endswith("(2 of 3 ended)")
    log = faulty.trial_folder(1).read("error.txt").decode()
    assert "Traceback (most recent call last)" in log and "run_trial" in log
