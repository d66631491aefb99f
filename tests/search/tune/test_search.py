"""Test whole searches with Ray Tune, Optuna and worker processes: the files of finished and interrupted searches."""

import json
import os
import re
import signal
from collections import Counter
from datetime import datetime
from pathlib import Path

import pandas
import pytest
from optuna.trial import FrozenTrial

from search.ensemble.members import FOLDER
from search.runs.run import Run
from search.runs.trial_record import clone_of
from tests.search.searching import SPACE, command, finish, rows, start, study_trials
from tests.waiting import LIMIT_SECONDS, wait_for
from trainers.folder import Folder


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    """Write the space that most of the searches use."""
    path = tmp_path_factory.mktemp("space") / "space.py"
    path.write_text(SPACE)
    return path


@pytest.fixture(scope="module")
def ended(tmp_path_factory, tiny_encoder, space) -> tuple[Path, str]:
    """Run a search to its end in a process of its own; return the run's directory and the printed lines."""
    storage = tmp_path_factory.mktemp("runs")
    done = finish(command(space, storage, tiny_encoder, "--trials", "7", "--concurrency", "2"))
    assert done.returncode == 0, done.stderr
    return storage / "run", done.stdout


def begun(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that continue no stopped trial."""
    return [trial for trial in trials if not clone_of(trial)]


def test_a_search_writes_an_ensemble_and_prints_the_path_of_the_report_last(ended):
    run, printed = ended
    assert printed.splitlines()[-1] == str(run / "report.html")
    assert (run / "report.html").stat().st_size > 10_000
    metrics = json.loads((run / FOLDER / "metrics.json").read_text())
    assert {"dev", "cross_fitted", "best_single"} <= set(metrics["score"])


def test_stopped_trials_are_pruned_and_finished_trials_are_complete_with_their_best_value(ended):
    trials = study_trials(ended[0])
    states = Counter(trial.state.name for trial in trials)
    assert set(states) == {"COMPLETE", "PRUNED"} and len(begun(trials)) == 7
    for trial in begun(trials):
        values = trial.intermediate_values
        if trial.state.name == "COMPLETE":
            assert sorted(values) == [1, 2, 3, 4] and trial.value == max(values.values())
        else:
            assert sorted(values) in ([1], [1, 2])


def test_the_files_agree_with_the_study_and_hold_full_states_of_stopped_trials_only(ended):
    run = ended[0]
    continued = {clone.trial for frozen in study_trials(run) if (clone := clone_of(frozen))}
    for frozen, trial in zip(study_trials(run), Run(Folder.at(run)).trials(), strict=True):
        assert (trial.state, trial.values) == (frozen.state.name, frozen.values)
        assert trial.scores == frozen.intermediate_values
        states = [path.parent.name for path in (run / "trials").glob(f"{trial.number:05d}/checkpoints/*/state.pt")]
        newest = [f"{len(trial.rows):05d}"] if trial.state == "PRUNED" and trial.number not in continued else []
        assert states == newest, "of the newest round"
    table = pandas.read_parquet(run / "trials.parquet")
    columns = "trial round state score sst qqp sts loss examples tokens steps train_seconds eval_seconds save_seconds"
    assert {*columns.split(), "ended", "node", "error", "params.learning_rate"} <= set(table.columns)
    assert not table.duplicated(["trial", "round"]).any()


def test_predictions_have_all_rows_in_the_order_of_the_data(ended):
    run = ended[0]
    corpus = Run(Folder.at(run)).corpus()
    for task, name in {"sst": "sst", "qqp": "para", "sts": "sts"}.items():
        for split in ("dev", "test"):
            lines = (run / FOLDER / "predictions" / f"{name}-{split}-output.csv").read_text().splitlines()
            assert [line.split(" , ")[0] for line in lines[1:]] == corpus.splits[task][split].ids


def test_two_trials_run_at_the_same_time_each_with_one_thread(ended):
    def interval(row):
        end = datetime.fromisoformat(row.ended).timestamp()
        return end - row.train_seconds - row.eval_seconds - row.save_seconds, end

    found = rows(ended[0])
    assert {row.threads for _, row in found} == {1}
    spans = [(trial, *interval(row)) for trial, row in found]
    assert any(a < d and c < b for first, a, b in spans for second, c, d in spans if first != second)


def test_a_finished_run_refuses_a_second_start_and_resumes_with_more_trials(ended, tiny_encoder, space, finish_here):
    run, _ = ended
    before = {trial.number: trial.params for trial in begun(study_trials(run))}
    again = command(space, run.parent, tiny_encoder, "--trials", "9")
    refused = finish_here(again)
    assert refused.returncode == 2 and "exists with 7 ended trials. Pass --resume" in refused.stderr
    done = finish_here([*again, "--resume"])
    assert done.returncode == 0, done.stderr
    trials = begun(study_trials(run))
    assert len(trials) == 9
    points = [trial.params["learning_rate"] for trial in trials]
    assert {trial.number: trial.params for trial in trials[:7]} == before and len(set(points)) == 9


def test_a_trial_that_is_not_finite_fails_with_its_reason(tmp_path, tiny_encoder, finish_here):
    space = tmp_path / "space.py"
    space.write_text(
        SPACE.replace("1e-1, log", "1e21, log").replace('{"learning_rate": 1e-2}', '{"learning_rate": 1e20}')
    )
    done = finish_here(command(space, tmp_path, tiny_encoder, "--trials", "2"))
    assert done.returncode == 0, done.stderr
    first, second = study_trials(tmp_path / "run")
    assert first.state.name == "FAIL" and second.state.name == "COMPLETE"
    trial, _ = Run(Folder.at(tmp_path / "run")).trials()
    assert trial.state == "FAIL" and "not finite in round 1" in str(trial.reason)
    assert trial.rows[0].score is None and not trial.rows[0].finite


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_search_that_was_ended_by_a_signal_resumes_without_repeating_a_finished_round(
    tmp_path, tiny_encoder, space, finish_here, sent
):
    arguments = command(space, tmp_path, tiny_encoder, "--trials", "4", "--concurrency", "1")
    process = start(arguments, tmp_path / "log")
    run = tmp_path / "run"
    wait_for(lambda: len(rows(run)) >= 2, process)
    os.killpg(process.pid, sent) if sent == signal.SIGKILL else os.kill(process.pid, sent)
    code = process.wait(LIMIT_SECONDS)
    if sent != signal.SIGKILL:
        printed = (tmp_path / "log").read_text()
        assert code == 130
        assert re.search(r"Continue with: python -m search.launch .*--resume", printed), printed
    before = rows(run)
    assert any(trial.state.name == "RUNNING" for trial in study_trials(run))

    done = finish_here([*arguments, "--resume"])
    assert done.returncode == 0, done.stderr
    after = rows(run)
    assert {repr(row) for row in before} <= {repr(row) for row in after}
    assert not [key for key, count in Counter((trial, row.round) for trial, row in after).items() if count > 1]
    trials = study_trials(run)
    assert len(trials) == 4 and not {"RUNNING", "WAITING"} & {trial.state.name for trial in trials}
    assert [trial.params["learning_rate"] for trial in trials[:2]] == [1e-2, 1e-3], (
        "the first points are START of the space"
    )


@pytest.mark.parametrize("objectives", [("sst", "seconds"), ("ensemble",)], ids="+".join)
def test_the_objective_may_be_a_metric_of_a_task_or_the_ensemble(
    tmp_path, tiny_encoder, space, finish_here, objectives
):
    asked = [option for name in objectives for option in ("--objective", name)]
    done = finish_here(command(space, tmp_path, tiny_encoder, "--trials", "3", *asked))
    assert done.returncode == 0, done.stderr
    finished = [trial for trial in Run(Folder.at(tmp_path / "run")).trials() if trial.state == "COMPLETE"]
    assert finished
    printed = [line for line in done.stdout.splitlines() if " round 1: score " in line]
    assert len(printed) == 3 and all(("seconds" in line) == ("seconds" in objectives) for line in printed)
    for trial in finished:
        assert trial.values and len(trial.values) == len(objectives)
        if "sst" in objectives:
            assert trial.values[0] == trial.best_row.metrics["sst"]
