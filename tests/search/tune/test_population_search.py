"""Test a population on real workers: interrupted and resumed; a clone's config trained again from the start."""

import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from search.runs.run import Run
from tests.search.searching import SPACE, command, rows, start
from tests.waiting import LIMIT_SECONDS, wait_for
from trainers.folder import Folder
from trainers.trial import read_rows

SIZE, ROUNDS = 5, 4


@pytest.fixture(scope="module")
def ended(tmp_path_factory, tiny_encoder, finish_here) -> tuple[Run, str]:
    """Search in two sessions; return the run and the printed lines of the second one."""
    home = tmp_path_factory.mktemp("population")
    (home / "space.py").write_text(SPACE)
    options = ("--trials", str(SIZE), "--concurrency", "2", "--trial-scheduler", "population")
    typed = command(home / "space.py", home, tiny_encoder, *options)
    process = start(typed, home / "log")
    wait_for(lambda: len(rows(home / "run")) > SIZE + 2, process)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(LIMIT_SECONDS) == 130, (home / "log").read_text()
    done = finish_here([*typed, "--resume"])
    assert done.returncode == 0, done.stderr
    return Run(Folder.at(home / "run")), done.stdout


def test_a_population_that_was_interrupted_trains_all_its_rounds_and_leaves_no_trial_running(ended):
    run, printed = ended
    trials = run.trials()
    states = Counter(trial.state for trial in trials)
    assert states["COMPLETE"] == SIZE and set(states) <= {"COMPLETE", "PRUNED"}
    assert states["PRUNED"] == sum(trial.clone is not None for trial in trials) > 0
    assert sum(len(trial.rows) for trial in trials) == SIZE * ROUNDS
    assert not list(Path(run.folder.path).rglob("state.pt"))
    assert f"({SIZE} of {SIZE} ended)" in printed
    assert "stopped early" not in printed


def test_a_clones_config_trains_from_the_start_to_the_same_scores(ended, tmp_path, finish_here):
    run, _ = ended
    clones = [trial for trial in run.trials() if trial.clone]
    trial = max(clones, key=lambda trial: trial.rows[-1].round)
    options = ("--dev-rows", str(run.search.dev_rows), "--out", str(tmp_path / "again"))
    again = [sys.executable, "-m", "trainers.fit", f"{trial.folder}/config.json", *options]
    assert torch.get_num_threads() == 1, "as in a worker"
    done = finish_here(again)
    assert done.returncode == 0, done.stderr
    alone = {row.round: row for row in read_rows(Folder.at(tmp_path / "again"))}
    for row in trial.rows:
        assert (row.score, row.losses) == (alone[row.round].score, alone[row.round].losses)
    assert len(re.findall("^round ", done.stdout, re.MULTILINE)) == ROUNDS
