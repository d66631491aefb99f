"""Test the choice of an ensemble from one or more runs."""

import pytest

from model.errors import InputError
from search.ensemble.build import write
from search.ensemble.choose import choose
from search.ensemble.estimates import SingleEstimates, TaskEstimates, read_estimates
from search.ensemble.members import read_ensemble
from search.selection.combiners import combine
from search.selection.strategies import STRATEGIES
from tests.json_files import read_json
from tests.search.declared_run import declared_run
from tests.search.example_run import TASK_NAMES, ExampleTrial, candidate_file, example_run
from tests.trainers.user_data import declarations
from trainers.evaluation.metrics import METRICS
from trainers.evaluation.predictions import read_predictions
from trainers.evaluation.scores import predictions, score
from trainers.tasks import TASKS


@pytest.fixture(scope="module")
def one_task_run(tmp_path_factory, sample_corpus_directory):
    return example_run(tmp_path_factory.mktemp("runs") / "one-task", sample_corpus_directory, tasks=["qqp"])


def test_the_estimated_dev_metric_is_that_of_the_combined_predictions_of_the_members(run, chosen):
    ensemble, corpus = read_ensemble(run), run.corpus()
    assert ensemble == chosen.ensemble
    metrics = {}
    for task, members in ensemble.members.items():
        assert all(member.trial is not None for member in members), "a soup is a member, but none was requested"
        kind, split = TASKS[task].kind, corpus.splits[task]["dev"]
        weighted = [
            (
                predictions(kind, read_predictions(*candidate_file(run, member.trial or 0, member.round, task))[1]),
                member.weight,
            )
            for member in members
        ]
        assert sum(weight for _, weight in weighted) == pytest.approx(1)
        metrics[task] = METRICS[TASKS[task].metric].compute(combine(ensemble.rules[task], weighted), split.labels)
        assert chosen.estimates.tasks[task].dev.value == pytest.approx(metrics[task])
    assert chosen.estimates.score.dev.value == pytest.approx(score(metrics, TASKS))


def test_the_best_single_candidate_has_the_best_score_and_per_task_the_best_metric(run, chosen):
    best = max((row.score, trial.number, row.round) for trial in run.trials() for row in trial.rows)
    single = best_single(chosen.estimates.score)
    assert (single.candidate.trial, single.candidate.round) == best[1:]
    assert single.dev.value == pytest.approx(best[0])
    for task in TASK_NAMES:
        best_metric = max(row.metrics[task] for trial in run.trials() for row in trial.rows)
        assert best_single(chosen.estimates.tasks[task]).dev.value == pytest.approx(best_metric)


def test_all_strategies_are_estimated_on_every_task_and_the_score(chosen):
    assert [row.strategy for row in chosen.estimates.strategies] == list(STRATEGIES)
    for row in chosen.estimates.strategies:
        assert row.dev.keys() == row.cross_fitted.keys() == {*TASK_NAMES, "score"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_ensemble_has_the_estimates_of_its_strategy_in_the_comparison_of_strategies(one_task_run, strategy):
    chosen = choose([one_task_run], strategy)
    assert chosen.ensemble.strategy == strategy
    row = next(row for row in chosen.estimates.strategies if row.strategy == strategy)
    assert row.members["qqp"] == len(chosen.ensemble.members["qqp"])
    assert list(chosen.estimates.tasks_and_score) == ["qqp", "score"]
    for name, estimates in chosen.estimates.tasks_and_score.items():
        assert row.dev[name] == estimates.dev.value
        assert row.cross_fitted[name] == estimates.cross_fitted.value
        assert estimates.dev.low <= estimates.dev.value <= estimates.dev.high
        assert estimates.gain is not None
        assert estimates.gain.low <= estimates.gain.value <= estimates.gain.high


def test_a_second_choice_from_the_same_run_equals_the_first(run, chosen):
    assert choose([run]) == chosen


def test_single_task_models_and_multitask_models_join_one_ensemble(tmp_path, sample_corpus_directory):
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


def test_if_no_model_predicts_all_tasks_the_score_has_no_best_single_candidate(tmp_path, sample_corpus_directory):
    runs = [
        example_run(tmp_path / task, sample_corpus_directory, [ExampleTrial(0, tasks=(task,))], tasks=[task])
        for task in ("sst", "sts")
    ]
    chosen = choose(runs)
    assert chosen.estimates.score.best_single is None
    assert best_single(chosen.estimates.tasks["sst"]).candidate.trial == 0
    write(runs[0], chosen)
    assert read_estimates(runs[0]) == chosen.estimates
    assert read_json(runs[0].folder, "ensemble/metrics.json")["score"]["gain"] is None


def test_the_ensemble_of_one_candidate_is_as_good_as_the_candidate(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "one", sample_corpus_directory, [ExampleTrial(4, rounds=1)])
    estimates = choose([run]).estimates.score
    assert estimates.dev.value == pytest.approx(best_single(estimates).dev.value)
    assert estimates.gain is not None
    assert estimates.gain.value == pytest.approx(0)


def test_an_unknown_strategy_is_an_error_that_names_the_nearest_known_strategy(run):
    with pytest.raises(InputError, match="did you mean 'greedy'"):
        choose([run], "gredy")


def test_runs_that_declare_one_task_in_different_ways_are_an_error(tmp_path):
    changed = declarations()["nli"] | {"high": 3}
    run = declared_run(tmp_path / "run", ("nli", "mood"))
    other = declared_run(tmp_path / "other", ("nli", "mood"), nli=changed)
    with pytest.raises(InputError, match=f"Task 'nli' is declared one way in {run.folder} and another way in"):
        choose([run, other])
    unsearched = declared_run(tmp_path / "unsearched", ("mood",), nli=changed)
    assert list(choose([run, unsearched]).ensemble.members) == ["nli", "mood"]


def test_a_first_run_without_the_rows_of_a_task_is_an_error_that_names_the_run_with_the_rows(
    declared, tmp_path, sample_corpus_directory
):
    sample = example_run(tmp_path / "sample", sample_corpus_directory)
    with pytest.raises(InputError, match=f"{sample.folder} has no rows of task 'stars'. Name {declared.folder} first"):
        choose([sample, declared])


def best_single(estimates: TaskEstimates) -> SingleEstimates:
    assert estimates.best_single is not None
    return estimates.best_single
