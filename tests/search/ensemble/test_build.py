"""Test the command that chooses a run's ensemble again and writes its files."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer.testing

from search.ensemble.__main__ import app
from search.ensemble.members import read_ensemble
from search.runs.lock import locked
from search.runs.run import Run
from tests.search.example_run import TASK_NAMES
from trainers.tasks import TASKS


def test_the_command_writes_an_ensemble_that_predicts_dev_and_test(trained):
    place = Path(str(trained.folder))
    arguments = [place.name, "--strategy", "soft_vote", "--storage", str(place.parent)]
    done = typer.testing.CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert read_ensemble(trained).strategy == "soft_vote"
    corpus = trained.corpus()
    for task in TASK_NAMES:
        for split in ("dev", "test"):
            ids = [line.split(" , ")[0] for line in prediction_lines(trained, task, split)]
            assert ids == corpus.splits[task][split].ids
        metrics = json.loads(trained.folder.read("ensemble/metrics.json"))
        values = np.array([float(line.split(" , ")[1]) for line in prediction_lines(trained, task, "dev")])
        labels = corpus.splits[task]["dev"].labels
        metric = np.corrcoef(values, labels)[0, 1] if task == "sts" else (values == labels).mean()
        assert metric == pytest.approx(metrics[task]["dev"], abs=1e-3)


def test_an_unknown_run_is_an_error_of_one_sentence_with_exit_code_2(tmp_path):
    done = typer.testing.CliRunner().invoke(app, ["nowhere", "--storage", str(tmp_path)])
    assert done.exit_code == 2
    assert "There is no run 'nowhere'" in done.stderr


def test_a_run_that_a_search_has_locked_is_refused(run):
    with locked(run.folder):
        done = typer.testing.CliRunner().invoke(app, [str(run.folder)])
    assert done.exit_code == 2 and "is in use by process" in done.stderr


def prediction_lines(run: Run, task: str, split: str) -> list[str]:
    """Return the lines of a prediction file, without its header."""
    file = f"ensemble/predictions/{TASKS[task].submission}-{split}-output.csv"
    return run.folder.read(file).decode().splitlines()[1:]
