"""Test the command on a real search: its best configs are trained on all rows, with an interruption between."""

import os
import re
import shlex
import shutil
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from search.ensemble.estimates import read_estimates
from search.runs.run import Run
from tests.search.searching import SPACE, command, rows, start
from tests.waiting import LIMIT_SECONDS, wait_for
from trainers.folder import Folder
from trainers.training.rounds import RoundRow
from trainers.trial import read_config

SEEDS = (4, 5)


@dataclass(frozen=True)
class Finished:
    """A run that the command has trained, and what it printed."""

    run: Run
    best: list[int]
    """The best trials of the search, the best first; before it was deleted."""
    learning_rates: dict[int, float]
    """Trial of the search -> the learning rate of its config."""
    interrupted: str
    """The output of the interrupted command."""
    lines: list[str]
    """The lines that the resumed command printed."""
    before: list[tuple[int, RoundRow]]
    """The rounds before the interruption."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_encoder: Path, finish_here) -> Finished:
    """Search, train the two best configs under two seeds, interrupt; delete the searched run, and resume."""
    place = tmp_path_factory.mktemp("runs")
    (place / "space.py").write_text(SPACE.replace("rounds=4", "rounds=2"))
    few = ["--rows", "64", "--trials", "3", "--dev-rows", "40", "--seed", "4", "--trial-scheduler", "none"]
    searched = finish_here(command(place / "space.py", place, tiny_encoder, *few, name="first"))
    assert searched.returncode == 0, searched.stderr
    trials = sorted(Run(Folder.at(place / "first")).trials(), key=lambda trial: -(trial.best_row.score or 0))
    rates = {trial.number: read_config(trial.folder).stages[0].learning_rate for trial in trials}

    arguments = ["first", "--storage", str(place), "--top", "2", "--seeds", "2", "--dev-rows", "40"]
    process = start([sys.executable, "-m", "search.finish", *arguments, "--concurrency", "1"], place / "log")
    wait_for(lambda: len(rows(place / "first-finish")) >= 3, process)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(LIMIT_SECONDS) == 130
    before, printed = rows(place / "first-finish"), (place / "log").read_text()
    shutil.rmtree(place / "first")
    again = shlex.split(printed.partition("Continue with: ")[2])
    done = finish_here([sys.executable, *again[1:]])
    assert done.returncode == 0, done.stderr
    run = Run(Folder.at(place / "first-finish"))
    return Finished(run, [trial.number for trial in trials], rates, printed, done.stdout.splitlines(), before)


def test_the_best_configs_are_trained_to_their_end_under_each_seed_on_all_rows(finished: Finished):
    run, trials = finished.run, finished.run.trials()
    points = [(trial.params["seed"], trial.params["trial"]) for trial in trials]
    assert points == [(seed, number) for seed in SEEDS for number in finished.best[:2]]
    assert {trial.state for trial in trials} == {"COMPLETE"} and all(trial.rows[-1].last for trial in trials)
    for trial in trials:
        config = read_config(trial.folder)
        assert config.stages[0].learning_rate == finished.learning_rates[trial.params["trial"]]
        assert config.seed == trial.params["seed"]
        assert trial.rows[-1].examples == pytest.approx(0.5 * 3 * 256, abs=24), "half a pass over all rows"
    assert run.search.trial_scheduler == "none", "no trial is stopped early"
    assert run.search.rows is None and len({repr(trial.values) for trial in trials}) == 4


def test_an_interrupted_run_continues_although_the_searched_run_is_deleted_and_trains_no_round_twice(
    finished: Finished,
):
    assert re.search(r"Continue with: python -m search.finish first .*--resume", finished.interrupted)
    after = rows(Path(finished.run.folder.uri))
    assert finished.before and {repr(row) for row in finished.before} <= {repr(row) for row in after}
    assert set(Counter((number, row.round) for number, row in after).values()) == {1}


def test_the_output_tells_what_is_trained_how_long_it_takes_and_which_training_a_line_is_about(finished: Finished):
    best, worse = finished.best[:2]
    assert f": the best configs of run first (trials {best}, {worse}), with seeds 4, 5." in finished.interrupted
    assert re.search(
        r"^4 trainings of 0.5 passes over 768 rows, as in the search: about \d:\d\d:\d\d of training and evaluation.$",
        finished.interrupted,
        re.MULTILINE,
    )
    assert f"trial 0 (trial {best} of first, seed 4) round 1: score" in finished.interrupted
    assert any(f"trial 3 (trial {worse} of first, seed 5) finished" in line for line in finished.lines)


def test_the_ensemble_and_the_report_are_those_of_the_new_run(finished: Finished):
    folder = Path(finished.run.folder.uri)
    assert str(folder / "report.html") in finished.lines and (folder / "trials.parquet").is_file()
    estimates = read_estimates(finished.run)
    assert estimates and estimates.candidates.keys() == {"sst", "qqp", "sts"}
    assert len(list((folder / "ensemble" / "predictions").glob("sst-dev*.csv"))) == 1
