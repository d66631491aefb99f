"""Test the analysis of tasks that a user's data declare, for every kind and for classes that do not start at 0."""

import numpy as np
import pytest

from search.report.run_data import BestRound
from search.report.task_analysis import TaskAnalysis, analyse
from search.runs.run import Run
from tests.search.example_run import ExampleTrial, candidate_file, example_run, tokenizer
from tests.trainers.user_data import USER_TASKS, labels_of, write_user_data
from trainers.data.prepare import prepare
from trainers.evaluation.predictions import read_predictions, submission
from trainers.evaluation.scores import predictions

NAMES = tuple(USER_TASKS)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    place = tmp_path_factory.mktemp("runs")
    corpus, _ = prepare(str(write_user_data(place / "data")), tokenizer(), rows=None, seed=0, cache=place)
    run = example_run(place / "run", corpus, [ExampleTrial(0, tasks=NAMES, skill=2.0)], tasks=NAMES)
    for name in NAMES:  # an ensemble of one member, the best round
        task, (ids, outputs) = run.tasks[name], read_predictions(*candidate_file(run, 0, 3, name))
        text = submission(task, ids, predictions(task.kind, outputs))
        run.folder.write(f"ensemble/predictions/{task.submission}-dev-output.csv", text)
    return run


@pytest.fixture(scope="module")
def analyses(run) -> dict[str, TaskAnalysis]:
    trial = run.trials()[0]
    found = analyse(run, run.corpus(), list(run.tasks.values()), BestRound(trial, trial.rows[2]))
    return {analysis.task.name: analysis for analysis in found}


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_predictions_are_those_of_the_users_files(run, analyses, name):
    kind, low, high, _ = USER_TASKS[name]
    for model in analyses[name].models:
        assert np.allclose(model.labels, labels_of(name, 10))
        if kind != "regression":
            assert set(model.values) <= set(np.arange(low, high + 1))
            assert (model.values == model.labels).mean() == pytest.approx(run.trials()[0].rows[2].metrics[name])
    of_round, ensemble = analyses[name].models
    assert np.allclose(np.clip(of_round.values, low, high), ensemble.values)


@pytest.mark.parametrize("name", NAMES)
def test_classes_have_class_metrics_and_values_have_errors(analyses, name):
    kind, low, high, _ = USER_TASKS[name]
    analysis = analyses[name]
    if kind == "regression":
        assert analysis.classes == []
        assert len(analysis.errors) == 2
    else:
        assert [row[0].label for row in analysis.classes] == list(range(int(low), int(high) + 1))
        assert analysis.errors == []
        assert sum(row[0].support for row in analysis.classes) == 10
    assert ("off by one class" in analysis.remarks[0]) == (kind == "classification" and any(analysis.worst))


def test_neighbours_have_the_labels_of_the_users_files(analyses):
    near = [found.label for example in analyses["stars"].worst for found in example.neighbours]
    assert near
    assert set(near) <= set(labels_of("stars", 12))
    assert all(example.neighbours == [] for example in analyses["stars"].right)
