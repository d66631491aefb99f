"""Test the results of recipes against the files of their trials."""

import numpy as np
import optuna
import pytest
from scipy import stats

from search.report.run_data import read_run_data
from search.report.sections import learning_curves
from search.reproduce.results import Result, failures, results
from search.runs.objectives import study_directions
from search.runs.rebuilt_study import LOST, repair_trials
from search.runs.trial_record import TRIAL
from tests.search.recipe_runs import GROUP, Training, recipe_run, set_round
from trainers.evaluation.predictions import read_predictions
from trainers.tasks import TASKS

pytestmark = pytest.mark.usefixtures("systems")
JOINT = Training("joint")


def test_a_recipes_metrics_are_all_from_the_round_with_the_best_score(tmp_path, sample_corpus_directory):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["joint"], [JOINT])
    set_round(run, 0, 2, 2.0, sst=0.5, qqp=0.75, sts=0.25)
    set_round(run, 0, 3, 1.0, sst=0.9, qqp=0.1, sts=0.1)
    (result,) = results(run)["joint"]
    assert result.metrics == {"sst": 0.5, "qqp": 0.75, "sts": 0.25}
    assert result.means == {"overall": pytest.approx((0.5 + 0.75 + 0.625) / 3), "plain": 0.5}


def test_seconds_are_the_training_time_of_a_thousand_examples(tmp_path, sample_corpus_directory):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["joint", "group"], [JOINT, *GROUP])
    (joint,), (group,) = results(run).values()
    assert joint.seconds == group.seconds == pytest.approx(1000 * 3 * 2.0 / 768)  # 3 rounds of 2 s and 256 examples


def test_a_group_is_scored_by_each_member_on_its_own_task_at_its_best_round(tmp_path, sample_corpus_directory):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["group"], GROUP)
    for number, metrics in enumerate([{"sst": 0.5}, {"qqp": 0.75}, {"sts": 0.25}]):
        set_round(run, number, 1 + number, 2.0, **metrics)
    (result,) = results(run)["group"]
    assert result.metrics == {"sst": 0.5, "qqp": 0.75, "sts": 0.25}
    assert result.means["plain"] == 0.5


def test_a_recipe_with_a_failed_training_lacks_its_metrics_and_has_no_mean(tmp_path, sample_corpus_directory):
    trainings = [GROUP[0], Training("group/qqp", tasks=("qqp",), reason="loss was not finite", rounds=2), GROUP[2]]
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["group", "joint"], trainings)
    (group,), (joint,) = results(run).values()
    assert set(group.metrics) == {"sst", "sts"} and group.tasks == ("sst", "qqp", "sts") and group.means == {}
    assert (joint.metrics, joint.means, joint.seconds) == ({}, {}, None)
    assert failures(run) == ["group/qqp, seed 0: loss was not finite."]


def test_each_seed_has_a_result_and_an_alias_has_the_results_of_its_original(tmp_path, sample_corpus_directory):
    trainings = [Training("joint", seed) for seed in (3, 4)]
    same = {"joint": "joint", "alias": "joint"}
    run = recipe_run(
        tmp_path / "run", sample_corpus_directory, ["joint", "alias"], trainings, seed=3, seeds=2, trained_as=same
    )
    for number in (0, 1):
        set_round(run, number, 1, 2.0, sst=0.25 * (1 + number))
    found = results(run)
    assert [result.metrics["sst"] for result in found["joint"]] == [0.25, 0.5]
    assert found["alias"] == found["joint"]


def best_outputs(run, task: str, numbers: list[int]) -> np.ndarray:
    """Return the outputs [trials, rows, width] of each trial's best round for a task."""
    outputs = []
    for number in numbers:
        trial = run.trials()[number]
        best = max(trial.rows, key=lambda row: row.metrics[task]).round
        ids, found = read_predictions(trial.folder / "predictions", f"{best:05d}-{task}.parquet")
        assert ids == run.corpus().splits[task]["dev"].ids
        outputs.append(found)
    return np.stack(outputs)


def test_the_best_single_model_of_a_task_is_the_best_round_of_all_members(tmp_path, sample_corpus_directory):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["best"], [JOINT, *GROUP])
    (result,) = results(run)["best"]
    for place, task in enumerate(result.tasks, start=1):
        rows = [row for number in (0, place) for row in run.trials()[number].rows]
        assert result.metrics[task] == pytest.approx(max(row.metrics[task] for row in rows))


def test_an_ensemble_of_three_predicts_their_mode_or_their_median(tmp_path, sample_corpus_directory):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["voted"], [JOINT, *GROUP, Training("other")])
    (result,) = results(run)["voted"]
    labels = {task: run.corpus().splits[task]["dev"].labels for task in TASKS}
    likeliest = best_outputs(run, "sst", [0, 1, 4]).argmax(axis=-1)
    alike = (likeliest == stats.mode(likeliest).mode).sum(axis=0) > 1
    right = (stats.mode(likeliest).mode == labels["sst"])[alike].sum()
    assert right <= result.metrics["sst"] * len(alike) <= right + (~alike).sum(), "three different classes are a tie"
    votes = (best_outputs(run, "qqp", [0, 2, 4])[..., 0] > 0).sum(axis=0) >= 2
    assert result.metrics["qqp"] == pytest.approx((votes == (labels["qqp"] == 1)).mean())
    median = np.median(best_outputs(run, "sts", [0, 3, 4])[..., 0], axis=0)
    assert result.metrics["sts"] == pytest.approx(stats.pearsonr(median, labels["sts"])[0], abs=1e-6)
    assert {trial.number for trial in result.trials} == {0, 1, 2, 3, 4}


def test_an_ensemble_uses_only_members_that_finished(tmp_path, sample_corpus_directory):
    trainings = [JOINT, *GROUP[:2], Training("group/sts", tasks=("sts",), reason="no"), Training("other", reason="no")]
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["voted"], trainings)
    (result,) = results(run)["voted"]
    values = best_outputs(run, "sts", [0])[0, :, 0]
    labels = run.corpus().splits["sts"]["dev"].labels
    assert result.metrics["sts"] == pytest.approx(stats.pearsonr(values, labels)[0], abs=1e-6)


def test_there_are_means_only_if_all_tasks_have_metrics():
    whole = Result({"sst": 0.5, "sts": 0.6}, ("sst", "sts"), ())
    assert whole.means == {"overall": pytest.approx(0.65), "plain": pytest.approx(0.55)}
    assert Result({"sst": 0.5}, ("sst", "sts"), ()).means == {}


def test_a_trial_whose_parameters_are_lost_is_named_by_its_number_and_costs_no_other_result(
    tmp_path, sample_corpus_directory
):
    run = recipe_run(tmp_path / "run", sample_corpus_directory, ["joint"], [JOINT, JOINT])
    run.trial_folder(1).write(TRIAL, "damaged")
    repair_trials(run, optuna.create_study(directions=study_directions(run.objectives)))
    (result,) = results(run)["joint"]
    assert result.means and [trial.number for trial in result.trials] == [0]
    assert failures(run) == [f"trial 1: {LOST}."]
    assert "trial 1" in str(learning_curves(read_run_data(run)).plot)
