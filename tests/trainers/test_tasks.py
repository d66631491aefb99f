"""Test how tasks are written as JSON and read back."""

import json
from dataclasses import replace

import pytest

from trainers.tasks import TASKS, task_to_json, tasks_from_json

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)


@every_task
def test_a_task_with_the_default_metric_is_written_without_it(task):
    assert "metric" not in task_to_json(task)


@every_task
@pytest.mark.parametrize("metric", ["accuracy", "pearson"])
def test_a_task_is_read_back_as_it_was_written(task, metric):
    tasks = {task.name: replace(task, metric=metric)}
    written = json.dumps({name: task_to_json(found) for name, found in tasks.items()})
    assert tasks_from_json(json.loads(written)) == tasks


def test_a_task_written_before_tasks_had_metrics_gets_the_default_metric_of_its_kind():
    fields = {
        "name": "mood",
        "kind": "regression",
        "low": -1,
        "high": 1,
        "text_columns": ["text"],
        "label_column": "label",
        "files": {},
        "submission": "mood",
        "submission_header": "Predicted_Label",
    }
    assert tasks_from_json({"mood": fields})["mood"].metric == "pearson"


def test_tasks_that_differ_in_the_metric_are_different():
    assert replace(TASKS["sts"], metric="accuracy") != TASKS["sts"]
