"""An ensemble from a run, or several: chosen, written, read back, predicted."""

import json

import numpy as np
import pytest
import typer.testing

from model.errors import InputError
from search.ensemble.__main__ import app
from search.ensemble.build import write
from search.ensemble.choose import choose
from search.ensemble.members import read_ensemble
from search.runs.lock import locked
from search.runs.run import Run
from search.selection.combiners import combine
from search.selection.strategies import STRATEGIES
from tests.search.example_run import TASK_NAMES, ExampleTrial, candidate_file, example_run, trained_run
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
        assert chosen.metrics[task]["dev"] == pytest.approx(metrics[task])
    assert chosen.metrics["score"]["dev"] == pytest.approx(score(metrics, TASKS))


def test_the_best_single_run_is_the_one_of_the_best_score(run, chosen):
    best = max((row["score"], trial.number, row["round"]) for trial in run.trials() for row in trial.rows)
    single = chosen.metrics["score"]["best_single"]
    assert (single["trial"], single["round"]) == best[1:]
    assert single["dev"] == pytest.approx(best[0])
    for task in TASK_NAMES:
        best_metric = max(row["metrics"][task] for trial in run.trials() for row in trial.rows)
        assert chosen.metrics[task]["best_single"]["dev"] == pytest.approx(best_metric)


def test_the_table_of_strategies_has_them_all(chosen):
    assert [row["strategy"] for row in chosen.metrics["strategies"]] == list(STRATEGIES)
    json.dumps(chosen.metrics, allow_nan=False)
    for row in chosen.metrics["strategies"]:
        assert row["dev"].keys() == row["cross_fitted"].keys() == {*TASK_NAMES, "score"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_chosen_with_as_the_table_says(tmp_path, sample_corpus_directory, strategy):
    chosen = choose([example_run(tmp_path / "one-task", sample_corpus_directory, tasks=["qqp"])], strategy)
    assert chosen.ensemble.strategy == strategy
    row = next(row for row in chosen.metrics["strategies"] if row["strategy"] == strategy)
    assert row["members"]["qqp"] == len(chosen.ensemble.members["qqp"])
    for name in ("qqp", "score"):
        entry = chosen.metrics[name]
        assert row["dev"][name] == entry["dev"]
        assert row["cross_fitted"][name] == entry["cross_fitted"]
        assert entry["dev_interval"][0] <= entry["dev"] <= entry["dev_interval"][1]
        assert entry["gain_interval"][0] <= entry["gain"] <= entry["gain_interval"][1]


def test_choosing_twice_is_choosing_once(run, chosen):
    assert choose([run]) == chosen


def test_single_task_models_join_multitask_ones(tmp_path, sample_corpus_directory):
    joint = example_run(tmp_path / "joint", sample_corpus_directory)
    expert = example_run(
        tmp_path / "expert", sample_corpus_directory, [ExampleTrial(0, skill=9.0, tasks=("sst",))], tasks=["sst"]
    )
    chosen = choose([joint, expert])
    assert chosen.metrics["sst"]["best_single"]["run"] == expert.folder.uri
    assert chosen.metrics["score"]["best_single"]["run"] == joint.folder.uri
    write(joint, chosen)
    assert {member.run for member in read_ensemble(joint).members["sst"]} >= {expert.folder.uri}
    assert {member.run for member in read_ensemble(joint).members["qqp"]} == {joint.folder.uri}


def test_models_of_different_tasks_make_an_ensemble_without_a_best_single_run(tmp_path, sample_corpus_directory):
    runs = [
        example_run(tmp_path / task, sample_corpus_directory, [ExampleTrial(0, tasks=(task,))], tasks=[task])
        for task in ("sst", "sts")
    ]
    chosen = choose(runs)
    assert chosen.metrics["score"]["best_single"] is None
    assert chosen.metrics["sst"]["best_single"]["trial"] == 0
    write(runs[0], chosen)


def test_one_candidate_is_an_ensemble_of_one(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "one", sample_corpus_directory, [ExampleTrial(4, rounds=1)])
    metrics = choose([run]).metrics
    assert metrics["score"]["dev"] == pytest.approx(metrics["score"]["best_single"]["dev"])
    assert metrics["score"]["gain"] == pytest.approx(0)


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


def lines_of(run, task, split):
    return (
        run.folder.read(f"ensemble/predictions/{TASKS[task].submission}-{split}-output.csv").decode().splitlines()[1:]
    )
