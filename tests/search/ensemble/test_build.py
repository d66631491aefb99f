"""An ensemble from a run, or several: chosen, written, read back, predicted."""

import json

import numpy as np
import pytest
import typer.testing

from model.errors import InputError
from search.ensemble.__main__ import app
from search.ensemble.build import write
from search.ensemble.choose import choose
from search.ensemble.estimates import read_estimates
from search.ensemble.members import read_ensemble
from search.runs.lock import locked
from search.runs.run import Run
from search.selection.combiners import combine
from search.selection.strategies import STRATEGIES
from tests.search.example_run import TASK_NAMES, ExampleTrial, candidate_file, example_run, trained_run
from trainers.data.declared_tasks import RESERVED_NAMES
from trainers.evaluation.predictions import read_predictions
from trainers.evaluation.scores import METRICS, predictions, score
from trainers.tasks import TASKS


@pytest.fixture(scope="module")
def run(tmp_path_factory, sample_corpus_directory):
    return example_run(tmp_path_factory.mktemp("runs") / "example", sample_corpus_directory)


@pytest.fixture(scope="module")
def chosen(run):
    found = choose([run])
    write(run, found)
    return found


def test_members_predict_what_the_metrics_say(run, chosen):
    ensemble, corpus = read_ensemble(run), run.corpus()
    assert ensemble == chosen.ensemble
    metrics = {}
    for task, members in ensemble.members.items():
        assert all(member.trial is not None for member in members), "no soup was made"
        kind, split = TASKS[task].kind, corpus.splits[task]["dev"]
        found = [
            (
                predictions(kind, read_predictions(*candidate_file(run, member.trial or 0, member.round, task))[1]),
                member.weight,
            )
            for member in members
        ]
        assert sum(weight for _, weight in found) == pytest.approx(1)
        metrics[task] = METRICS[kind](combine(ensemble.rules[task], found), split.labels)
        assert chosen.estimates.tasks[task].dev.value == pytest.approx(metrics[task])
    assert chosen.estimates.score.dev.value == pytest.approx(score(metrics, TASKS))


def test_estimates_are_read_back_as_they_were_written(run, chosen):
    assert read_estimates(run) == chosen.estimates


def test_the_file_of_estimates_holds_each_task_under_its_name_with_its_intervals(run, chosen):
    record, found = run.folder.read_json("ensemble/metrics.json"), chosen.estimates.tasks["sst"]
    assert record.keys() == {*TASK_NAMES, "score", "strategy", "seed", "soup", "rows", "candidates", "strategies"}
    assert record["sst"]["cross_fitted"] == found.cross_fitted.value
    assert record["sst"]["cross_fitted_interval"] == [found.cross_fitted.low, found.cross_fitted.high]
    single = best_single(found)
    assert record["sst"]["best_single"].items() >= {"trial": single.candidate.trial, "dev": single.dev.value}.items()
    assert {name for name in record if name not in TASK_NAMES} <= RESERVED_NAMES


def test_the_best_single_run_is_the_one_of_the_best_score(run, chosen):
    best = max((row.score, trial.number, row.round) for trial in run.trials() for row in trial.rows)
    single = best_single(chosen.estimates.score)
    assert (single.candidate.trial, single.candidate.round) == best[1:]
    assert single.dev.value == pytest.approx(best[0])
    for task in TASK_NAMES:
        best_metric = max(row.metrics[task] for trial in run.trials() for row in trial.rows)
        assert best_single(chosen.estimates.tasks[task]).dev.value == pytest.approx(best_metric)


def test_the_table_of_strategies_has_them_all(chosen):
    assert [row.strategy for row in chosen.estimates.strategies] == list(STRATEGIES)
    for row in chosen.estimates.strategies:
        assert row.dev.keys() == row.cross_fitted.keys() == {*TASK_NAMES, "score"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_chosen_with_as_the_table_says(tmp_path, sample_corpus_directory, strategy):
    chosen = choose([example_run(tmp_path / "one-task", sample_corpus_directory, tasks=["qqp"])], strategy)
    assert chosen.ensemble.strategy == strategy
    row = next(row for row in chosen.estimates.strategies if row.strategy == strategy)
    assert row.members["qqp"] == len(chosen.ensemble.members["qqp"])
    assert list(chosen.estimates.tasks_and_score) == ["qqp", "score"]
    for name, found in chosen.estimates.tasks_and_score.items():
        assert row.dev[name] == found.dev.value
        assert row.cross_fitted[name] == found.cross_fitted.value
        assert found.dev.low <= found.dev.value <= found.dev.high
        assert found.gain is not None
        assert found.gain.low <= found.gain.value <= found.gain.high


def test_choosing_twice_is_choosing_once(run, chosen):
    assert choose([run]) == chosen


def test_single_task_models_join_multitask_ones(tmp_path, sample_corpus_directory):
    joint = example_run(tmp_path / "joint", sample_corpus_directory)
    expert = example_run(
        tmp_path / "expert", sample_corpus_directory, [ExampleTrial(0, skill=9.0, tasks=("sst",))], tasks=["sst"]
    )
    chosen = choose([joint, expert])
    assert best_single(chosen.estimates.tasks["sst"]).candidate.run == expert.folder.uri
    assert best_single(chosen.estimates.score).candidate.run == joint.folder.uri
    write(joint, chosen)
    assert {member.run for member in read_ensemble(joint).members["sst"]} >= {expert.folder.uri}
    assert {member.run for member in read_ensemble(joint).members["qqp"]} == {joint.folder.uri}


def test_models_of_different_tasks_make_an_ensemble_without_a_best_single_run(tmp_path, sample_corpus_directory):
    runs = [
        example_run(tmp_path / task, sample_corpus_directory, [ExampleTrial(0, tasks=(task,))], tasks=[task])
        for task in ("sst", "sts")
    ]
    chosen = choose(runs)
    assert chosen.estimates.score.best_single is None
    assert best_single(chosen.estimates.tasks["sst"]).candidate.trial == 0
    write(runs[0], chosen)
    assert read_estimates(runs[0]) == chosen.estimates
    assert runs[0].folder.read_json("ensemble/metrics.json")["score"]["gain"] is None


def test_one_candidate_is_an_ensemble_of_one(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "one", sample_corpus_directory, [ExampleTrial(4, rounds=1)])
    estimates = choose([run]).estimates.score
    assert estimates.dev.value == pytest.approx(best_single(estimates).dev.value)
    assert estimates.gain is not None
    assert estimates.gain.value == pytest.approx(0)


def test_a_moved_run_still_finds_its_members(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "before", sample_corpus_directory, tasks=["sts"])
    write(run, choose([run]))
    (tmp_path / "before").rename(tmp_path / "after")
    moved = Run.open(str(tmp_path / "after"))
    assert {member.run for member in read_ensemble(moved).members["sts"]} == {moved.folder.uri}


def test_an_unknown_strategy_is_told_with_the_nearest(run):
    with pytest.raises(InputError, match="did you mean 'greedy'"):
        choose([run], "gredy")


def test_a_run_without_an_ensemble_says_how_to_choose_one(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "new", sample_corpus_directory)
    with pytest.raises(InputError, match=r"has no ensemble yet.*search\.ensemble"):
        read_ensemble(run)


@pytest.mark.usefixtures("one_thread")
def test_the_command_chooses_again_and_the_members_predict_dev_and_test(tmp_path, sample_corpus_directory):
    run = trained_run(tmp_path / "trained", sample_corpus_directory)
    done = typer.testing.CliRunner().invoke(app, ["trained", "--strategy", "soft_vote", "--storage", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert read_ensemble(run).strategy == "soft_vote"
    corpus = run.corpus()
    for task in TASK_NAMES:
        for split in ("dev", "test"):
            assert [line.split(" , ")[0] for line in lines_of(run, task, split)] == corpus.splits[task][split].ids
        metrics = json.loads(run.folder.read("ensemble/metrics.json"))
        values = np.array([float(line.split(" , ")[1]) for line in lines_of(run, task, "dev")])
        labels = corpus.splits[task]["dev"].labels
        reached = np.corrcoef(values, labels)[0, 1] if task == "sts" else (values == labels).mean()
        assert reached == pytest.approx(metrics[task]["dev"], abs=1e-3)


def test_an_unknown_run_is_one_sentence_and_exit_code_2(tmp_path):
    done = typer.testing.CliRunner().invoke(app, ["nowhere", "--storage", str(tmp_path)])
    assert done.exit_code == 2
    assert "There is no run 'nowhere'" in done.stderr


def test_a_run_that_is_being_driven_is_left_alone(run):
    with locked(run.folder):
        done = typer.testing.CliRunner().invoke(app, [str(run.folder)])
    assert done.exit_code == 2 and "is being driven by process" in done.stderr


def best_single(estimates):
    assert estimates.best_single is not None
    return estimates.best_single


def lines_of(run, task, split):
    return (
        run.folder.read(f"ensemble/predictions/{TASKS[task].submission}-{split}-output.csv").decode().splitlines()[1:]
    )
