"""Early stopping by hand; then faults in real searches: killed workers, and a trial that cannot succeed."""

import contextlib
import os
import re
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from search.runs.run import Run
from search.runs.trial_record import start_trial
from search.tune.halving import BRACKETS, Halving
from search.tune.tune_schedulers import HalvingScheduler
from tests.search.example_run import write_search
from tests.search.searching import SPACE, command, rows, start, wait_for
from trainers.folder import Folder
from trainers.trial import ROUNDS

GO, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP
ROUND_COUNT = 4
"""The only rung is after round 1."""
KILLS = 3
"""As many as would use a trial up if no finished round lay between them."""


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return write_search(tmp_path / "run", sample_corpus_directory, rounds=ROUND_COUNT)


def row(judged: int | None, score: float | None, **changed: Any) -> dict[str, Any]:
    return {"round": judged or 1, "judged": judged, "score": score, "last": False, "finite": True} | changed


def tell(scheduler: HalvingScheduler, number: int, result: dict[str, Any]) -> str:
    """Hand a trial's round to the scheduler, as Tune does."""
    trial = Trial("SearchTrial", config={"number": number}, stub=True)
    return scheduler.on_trial_result(None, trial, result)


def halving(run: Run) -> HalvingScheduler:
    """Start early stopping, with rungs after rounds 1 and 4, on what a run's trials have done."""
    return HalvingScheduler(run.trials(), Halving(9, BRACKETS["asha"]), ["score"])


def record(run: Run, number: int, result: dict[str, Any], second: int) -> None:
    """Write a round to a trial's files."""
    folder = run.trial_folder(number)
    if not folder.exists():
        frozen = optuna.trial.create_trial(state=TrialState.RUNNING)
        frozen.number = number
        start_trial(folder, frozen, "{}")
    ended = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=second)
    folder.append_json(ROUNDS, result | {"ended": ended.isoformat(timespec="milliseconds")})


def test_a_restarted_search_judges_every_round_as_it_was_judged_the_first_time(run: Run):
    scores, scheduler = np.random.default_rng(0).random((30, 2)), halving(run)
    first: dict[tuple[int, int], str] = {}
    for second, number in enumerate(np.random.default_rng(1).permutation(30).tolist()):
        for place, judged in enumerate((1, 4)):
            if first.get((number, 1)) != STOP:
                result = row(judged, float(scores[number, place]))
                record(run, number, result, 2 * second + place)
                first[number, judged] = tell(scheduler, number, result)
    assert set(first.values()) == {GO, STOP} and STOP in {first[key] for key in first if key[1] == 4}
    for judge in (scheduler, halving(run)):
        again = {(n, judged): tell(judge, n, row(judged, float(scores[n, judged // 4]))) for n, judged in first}
        assert again == first


def test_rounds_without_a_score_between_rungs_or_at_the_end_stop_nobody(run: Run):
    scheduler = halving(run)
    for number in range(5):
        assert tell(scheduler, number, row(1, 0.9)) == GO
    assert tell(scheduler, 5, row(None, None)) == GO
    assert tell(scheduler, 6, row(1, None, finite=False)) == GO
    assert tell(scheduler, 7, row(2, 0.1)) == GO
    assert tell(scheduler, 8, row(1, 0.1, last=True)) == GO
    assert {rung: len(seen) for rung, seen in scheduler.halving.rungs.items()} == {(0, 1): 6}
    assert tell(scheduler, 9, row(1, 0.1)) == STOP


def workers(driver: int) -> list[int]:
    """Return the ids of the processes below a driver that are training."""
    parents, titles = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended since
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(place.name)] = (place / "cmdline").read_text()

    def below(process: int) -> bool:
        return process == driver or (process in parents and below(parents[process]))

    return [process for process, title in titles.items() if re.match("ray::.*Trainable", title) and below(process)]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Run:
    """Search while the first trial's worker is killed in every round and the second cannot write its predictions."""
    place = tmp_path_factory.mktemp("faulty")
    (place / "space.py").write_text(SPACE)
    blocked = place / "run" / "trials" / "00001" / "predictions"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a directory should be")
    options = ("--trials", "3", "--concurrency", "1", "--trial-scheduler", "none")
    process = start(command(place / "space.py", place, tiny_encoder, *options), place / "log")
    for finished in range(1, KILLS + 1):
        wait_for(lambda finished=finished: len(rows(place / "run")) >= finished)
        (worker,) = wait_for(lambda: workers(process.pid))  # none while the last one is being replaced
        os.kill(worker, signal.SIGKILL)
    assert process.wait(120) == 0, (place / "log").read_text()
    return Run(Folder.at(place / "run"))


def test_a_worker_killed_in_every_round_does_not_use_its_trial_up_and_no_round_is_finished_twice(faulty: Run):
    trial = faulty.trials()[0]
    assert trial.state == "COMPLETE" and list(trial.judged) == list(range(1, ROUND_COUNT + 1))
    told = Counter((number, row["round"]) for number, row in rows(faulty.folder.local or Path()))
    assert set(told.values()) == {1}


def test_a_trial_that_fails_again_and_again_says_why_and_the_search_goes_on(faulty: Run):
    first, second, third = faulty.trials()
    assert second.state == "FAIL" and second.rows == []
    assert str(second.reason).startswith(("NotADirectoryError: ", "FileExistsError: "))
    assert third.state == "COMPLETE"
    assert {trial.number for trial, _ in faulty.kept()} == {first.number, third.number}
