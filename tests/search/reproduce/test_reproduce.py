"""Test the command: a real run of recipes is interrupted, resumed and read; bad input is refused."""

import os
import re
import shlex
import signal
import sys
from collections import Counter
from pathlib import Path

import pandas
import pytest
from typer.testing import CliRunner

from search.reproduce.__main__ import app
from search.runs.run import Run
from search.session.session import READING
from tests.json_files import read_json
from tests.search.searching import rows, start
from tests.waiting import LIMIT_SECONDS, wait_for
from trainers.folder import Folder
from trainers.start import LOADING

RECIPES = ("pcgrad", "r002-concat")
FEW = ("--rows", "32", "--dev-rows", "40", "--scale", "0.25", "--set", "dropout=0.1")


def command(storage: Path, encoder: Path, *options: str) -> list[str]:
    """Return the command line of a reproduction."""
    fixed = ["--name", "run", "--storage", str(storage), "--encoder", str(encoder), *FEW]
    return [sys.executable, "-m", "search.reproduce", *options, *fixed]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory, tiny_encoder, finish_here) -> tuple[Run, list[str], list[tuple]]:
    """Interrupt and resume a run of two recipes under two seeds.

    Returns:
        The run, the lines that the resumed command printed, and the rows before the interruption.
    """
    place = tmp_path_factory.mktemp("runs")
    arguments = command(place, tiny_encoder, *RECIPES, "--seeds", "2", "--seed", "3", "--concurrency", "1")
    process = start(arguments, place / "log")
    wait_for(lambda: len(rows(place / "run")) >= 3, process)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(LIMIT_SECONDS) == 130
    printed = (place / "log").read_text()
    assert re.search(r"Continue with: python -m search.reproduce .*--resume", printed), printed
    again = shlex.split(printed.partition("Continue with: ")[2])
    before = rows(place / "run")
    done = finish_here([sys.executable, *again[1:]])
    assert done.returncode == 0, done.stderr
    return Run(Folder.at(place / "run")), done.stdout.splitlines(), before


def test_each_recipe_is_trained_under_each_seed_and_no_round_is_trained_twice(resumed):
    run, _, before = resumed
    trials = run.trials()
    points = [(trial.params["seed"], trial.params["recipe"]) for trial in trials]
    assert points == [(seed, name) for seed in (3, 4) for name in RECIPES]
    assert {trial.state for trial in trials} == {"COMPLETE"}
    after = rows(run.folder.local)
    assert before and {repr(row) for row in before} <= {repr(row) for row in after}
    assert set(Counter((number, row.round) for number, row in after).values()) == {1}


def test_a_trial_trains_its_recipe_with_its_seed_the_runs_encoder_and_the_set_fields(resumed, tiny_encoder):
    run, _, _ = resumed
    for trial in run.trials():
        config = read_json(trial.folder, "config.json")
        assert (config["seed"], config["encoder"]) == (trial.params["seed"], str(tiny_encoder))
        assert config["dropout"] == 0.1
        assert len(config["stages"]) == {"pcgrad": 1, "r002-concat": 3}[trial.params["recipe"]]
    scores = [repr(trial.values) for trial in run.trials()]
    assert len(set(scores)) == 4, "another seed gives another score"


def test_no_trial_is_stopped_early_although_rounds_and_tasks_differ(resumed):
    run, _, _ = resumed
    assert all(trial.rows[-1].last for trial in run.trials())
    assert len({len(trial.rows) for trial in run.trials()}) == 2


def test_the_table_and_its_path_are_printed_last_and_its_metrics_are_those_of_the_trials(resumed):
    run, printed, _ = resumed
    assert printed[-1] == str(run.folder.local / "reproduction.md")
    table = pandas.read_csv(run.folder.local / "reproduction.csv").to_dict("records")
    ours = {line["recipe"]: line for line in table if line["line"] == "ours"}
    assert tuple(ours) == RECIPES and {line["seeds"] for line in ours.values()} == {2}
    for name, line in ours.items():
        values = [(trial.values or [0])[0] for trial in run.trials() if trial.params["recipe"] == name]
        assert line["overall"] == pytest.approx(sum(values) / 2)
        assert line["overall_sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    (gap,) = [line for line in table if line["line"] == "difference"]
    assert gap["sst"] == pytest.approx(ours["r002-concat"]["sst"] - 0.494)
    assert any(line.startswith("r002-concat") and "results: Concat" in line for line in printed)
    assert any("trial 3 (r002-concat, seed 4) finished" in line for line in printed)
    assert (run.folder.local / "report.html").stat().st_size > 10_000
    assert not (run.folder.local / "ensemble").exists()


def test_resuming_an_ended_run_prints_its_table_again_and_its_settings_cannot_change(resumed, finish_here):
    run, printed, _ = resumed
    arguments = ["--name", "run", "--storage", str(run.folder.local.parent)]
    refused = CliRunner().invoke(app, [*arguments, "--resume", "plain"])
    assert refused.exit_code == 2
    assert "was made for pcgrad r002-concat, not for plain. Leave RECIPE out" in refused.stderr
    assert "exists with 4 ended trials. Pass --resume" in CliRunner().invoke(app, arguments).stderr
    again = finish_here([sys.executable, "-m", "search.reproduce", *arguments, "--resume"])
    assert again.returncode == 0, again.stderr
    table = printed[next(place for place, line in enumerate(printed) if line.startswith("recipe ")) :]
    assert again.stdout.splitlines()[-len(table) :] == table


def test_if_no_training_finishes_the_notes_give_the_reason_and_the_exit_code_is_1(tmp_path, tiny_encoder, finish_here):
    arguments = command(tmp_path, tiny_encoder, "r000-trilogy/sst", "--set", "stages.0.learning_rate=1e30")
    done = finish_here(arguments)
    assert done.returncode == 1, done.stderr
    assert "r000-trilogy/sst, seed 0: loss or weights were not finite in round 1." in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "run" / "reproduction.md")
    assert "No training finished" in done.stderr


FAULTS = {
    "unknown recipe": (["r002-conact"], "did you mean 'r002-concat'?"),
    "glob without a match": (["r005-*"], "No recipe matches 'r005-*'"),
    "unknown field": (["plain", "--set", "dropot=0"], "Recipe plain: Unknown config field in --set dropot=0"),
    "field with an option": (["plain", "--set", "seed=1"], "Pass --seed instead."),
    "missing task": (
        ["plain", "r001-frozen-*", "--data", "DATA"],
        "The data lack task cfimdb, needed by r001-frozen-cfimdb. Pass other --data",
    ),
    "missing text set": (
        ["plain", "r000-trilogy-mlm/sst", "--data", "DATA"],
        "The data lack text set imdb, needed by r000-trilogy-mlm/sst. Pass other --data",
    ),
    "nothing to resume": (["plain", "--resume"], "There is no run 'run'"),
}


@pytest.fixture(scope="module")
def course_files(tmp_path_factory) -> Path:
    """Write a data directory with all tasks except CFIMDB, and without text sets."""
    place = tmp_path_factory.mktemp("data")
    head = {"ids-sst": "sentence\tsentiment", "quora": "sentence1\tsentence2\tis_duplicate"}
    head |= {"sts": "sentence1\tsentence2\tsimilarity"}
    for prefix, columns in head.items():
        sides = "\t".join(["A film ."] * columns.count("sentence"))
        for split in ("train", "dev"):
            lines = [f"{split}{row}\t{sides}\t{row % 2}" for row in range(8)]
            (place / f"{prefix}-{split}.csv").write_text("\n".join([f"id\t{columns}", *lines]) + "\n")
    return place


@pytest.mark.parametrize(("arguments", "message"), FAULTS.values(), ids=FAULTS)
def test_bad_input_gives_one_line_of_error_and_creates_no_run(
    tmp_path, tiny_encoder, user_cache, monkeypatch, course_files, arguments, message
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # the command sets it; monkeypatch restores it
    arguments = [str(course_files) if argument == "DATA" else argument for argument in arguments]
    ended = CliRunner().invoke(app, [*command(tmp_path / "runs", tiny_encoder)[3:], *arguments])
    assert ended.exit_code == 2, ended.output
    known = message not in ("did you mean 'r002-concat'?", "No recipe matches 'r005-*'")
    assert ended.stdout.splitlines() == [LOADING, READING][: 1 + known]
    assert ended.stderr.startswith("Error: ") and ended.stderr.count("\n") == 1
    assert message in ended.stderr
    assert not (tmp_path / "runs" / "run").exists()
