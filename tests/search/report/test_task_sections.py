"""What the report says of tasks that the data declare, whatever their kind and wherever their classes start."""

import numpy as np
import pytest

from search.report.task_sections import Section, sections
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
    for name in NAMES:  # an ensemble of the best round alone
        task, (ids, outputs) = run.tasks[name], read_predictions(*candidate_file(run, 0, 3, name))
        text = submission(task, ids, predictions(task.kind, outputs))
        run.folder.write(f"ensemble/predictions/{task.submission}-dev-output.csv", text)
    return run


@pytest.fixture(scope="module")
def told(run) -> dict[str, Section]:
    found = sections(run, run.corpus(), list(run.tasks.values()), (run.trials()[0], 3))
    return {section.task.name: section for section in found}


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_answers_are_those_of_the_users_files(run, told, name):
    kind, low, high, _ = USER_TASKS[name]
    for model in told[name].models:
        assert np.allclose(model.labels, labels_of(name, 10))
        if kind != "regression":
            assert set(model.values) <= set(np.arange(low, high + 1))
            assert (model.values == model.labels).mean() == pytest.approx(run.trials()[0].rows[2]["metrics"][name])
    alone, ensemble = told[name].models
    assert np.allclose(np.clip(alone.values, low, high), ensemble.values)


@pytest.mark.parametrize("name", NAMES)
def test_classes_have_figures_and_values_have_errors(told, name):
    kind, low, high, _ = USER_TASKS[name]
    section = told[name]
    if kind == "regression":
        assert section.classes == []
        assert len(section.errors) == 2
    else:
        assert [row[0].label for row in section.classes] == list(range(int(low), int(high) + 1))
        assert section.errors == []
        assert sum(row[0].support for row in section.classes) == 10
    assert ("adjacent" in section.remarks[0]) == (kind == "classification" and any(section.worst))


def test_neighbours_have_the_labels_of_the_users_files(told):
    near = [found.label for example in told["stars"].worst for found in example.neighbours]
    assert near
    assert set(near) <= set(labels_of("stars", 12))
    assert all(example.neighbours == [] for example in told["stars"].right)
