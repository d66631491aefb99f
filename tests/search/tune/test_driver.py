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
from tests.search.searching import SPACE, command, rows, wait_for
from trainers.folder import Folder

ROUND_COUNT = 4
KILLS = 3
"""Number of failures that would end a trial without a finished round between them."""


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
    """Kill the worker after each of the first rounds."""
    for finished in range(1, KILLS + 1):
        wait_for(lambda finished=finished: len(rows(run)) >= finished)
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
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_workers, place / "run")
        done = finish_here(command(place / "space.py", place, tiny_encoder, *options))
        killing.result()
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(Folder.at(place / "run"))


def test_a_trial_whose_worker_is_killed_in_every_round_completes_and_no_round_is_trained_twice(faulty: Run):
    trial = faulty.trials()[0]
    assert trial.state == "COMPLETE" and list(trial.scores) == list(range(1, ROUND_COUNT + 1))
    counts = Counter((number, row.round) for number, row in rows(faulty.folder.local or Path()))
    assert set(counts.values()) == {1}


def test_a_trial_that_keeps_failing_fails_with_its_reason_and_the_search_continues(faulty: Run):
    first, second, third = faulty.trials()
    assert second.state == "FAIL" and second.rows == []
    assert str(second.reason).startswith(("NotADirectoryError: ", "FileExistsError: "))
    assert third.state == "COMPLETE"
    assert {trial.number for trial, _ in faulty.rounds_with_weights()} == {first.number, third.number}
