"""Test the trial schedulers, called as Tune calls them: early stopping after a restart, and one round at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from search.runs.arrivals import Arrivals
from search.runs.run import Run
from search.runs.trial_record import start_trial
from search.tune.halving import BRACKETS, Halving
from search.tune.tune_schedulers import HalvingScheduler, PopulationScheduler
from tests.example_row import example_row
from tests.search.example_run import write_search
from trainers.training.rounds import RoundRow
from trainers.trial import ROUNDS

GO, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP
ROUND_COUNT = 4
"""The only rung is after round 1."""


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return write_search(tmp_path / "run", sample_corpus_directory, rounds=ROUND_COUNT)


def row(judged: int | None, score: float | None, **changed: Any) -> RoundRow:
    return example_row(judged or 1, judged=judged, score=score, **changed)


def report(scheduler: HalvingScheduler | PopulationScheduler, number: int, row: RoundRow) -> str:
    """Report a round of a trial to the scheduler, as Tune does."""
    trial = Trial("SearchTrial", config={"number": number, "origin": None}, stub=True)
    return scheduler.on_trial_result(None, trial, row.to_json())


def halving(run: Run) -> HalvingScheduler:
    """Return an early-stopping scheduler with rungs after rounds 1 and 4, filled from the rounds of a run's trials."""
    return HalvingScheduler(Arrivals(run.folder, run.trials()).rounds(), Halving(9, BRACKETS["asha"]), ["score"])


def record(run: Run, number: int, row: RoundRow, second: int) -> None:
    """Write a round to a trial's files, as a worker on a node whose clock runs backwards."""
    folder = run.trial_folder(number)
    if not folder.exists():
        frozen = optuna.trial.create_trial(state=TrialState.RUNNING)
        frozen.number = number
        start_trial(folder, frozen, "{}")
    ended = datetime(2026, 1, 2, tzinfo=UTC) - timedelta(seconds=second)
    folder.append_json(ROUNDS, replace(row, ended=ended.isoformat(timespec="milliseconds")).to_json())


def test_a_restarted_search_repeats_its_decision_for_every_round(run: Run):
    scores, scheduler = np.random.default_rng(0).random((30, 2)), halving(run)
    arrivals = Arrivals(run.folder, [])
    first: dict[tuple[int, int], str] = {}
    for second, number in enumerate(np.random.default_rng(1).permutation(30).tolist()):
        for place, judged in enumerate((1, 4)):
            if first.get((number, 1)) != STOP:
                result = row(judged, float(scores[number, place]))
                record(run, number, result, 2 * second + place)
                first[number, judged] = report(scheduler, number, result)
                arrivals.add(number, result.round)
    assert set(first.values()) == {GO, STOP} and STOP in {first[key] for key in first if key[1] == 4}
    for judge in (scheduler, halving(run)):
        again = {(n, judged): report(judge, n, row(judged, float(scores[n, judged // 4]))) for n, judged in first}
        assert again == first


def test_rounds_without_a_score_between_rungs_or_at_the_end_stop_no_trial(run: Run):
    scheduler = halving(run)
    for number in range(9):
        assert report(scheduler, number, row(1, 0.9)) == GO
    assert report(scheduler, 9, row(None, None)) == GO
    assert report(scheduler, 10, row(1, None, finite=False)) == GO
    assert report(scheduler, 11, row(3, 0.1)) == GO
    assert report(scheduler, 12, row(1, 0.1, last=True)) == GO
    assert {rung: len(seen) for rung, seen in scheduler.halving.rungs.items()} == {(0, 1): 10}
    assert report(scheduler, 13, row(1, 0.1)) == STOP


def test_a_population_stops_a_trial_after_every_new_judged_round_but_the_last(run: Run):
    scheduler = PopulationScheduler([])
    reports = [(1, None), (2, 0.5), (2, 0.5), (3, 0.5), (3, 0.5), (4, 0.5)]
    rows = [row(round, score, last=round == ROUND_COUNT) for round, score in reports]
    assert [report(scheduler, 0, result) == STOP for result in rows] == [False, True, False, True, False, False]
    record(run, 0, row(2, 0.5), 0)
    assert report(PopulationScheduler(run.trials()), 0, row(2, 0.5)) == GO, (
        "a resumed trial reports its last round again"
    )
