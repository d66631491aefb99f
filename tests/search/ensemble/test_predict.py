"""Test the predictions of an ensemble and the prediction files."""

import numpy as np
import pytest

from search.ensemble.predict import predict_members
from search.report.page import render
from tests.search.declared_run import DECLARED_NAMES
from tests.search.example_run import candidate_file
from tests.trainers.user_data import USER_TASKS, labels_of
from trainers.evaluation.predictions import read_predictions


def test_prediction_files_of_declared_tasks_hold_labels_of_the_declared_range(declared, declared_chosen):
    assert list(declared_chosen.estimates.rows) == list(DECLARED_NAMES)

    def read_outputs(function, jobs):
        """Return the dev outputs that a member wrote in training; the first 4 stand for the 4 test rows."""
        for _, number, round, tasks, _ in jobs:
            dev = {task: read_predictions(*candidate_file(declared, number, round, task))[1] for task in tasks}
            yield {task: {"dev": outputs, "test": outputs[:4]} for task, outputs in dev.items()}

    metrics = predict_members(declared, declared_chosen.ensemble, read_outputs)
    for name in DECLARED_NAMES:
        kind, low, high, _ = USER_TASKS[name]
        lines = declared.folder.read(f"ensemble/predictions/{name}-dev-output.csv").decode().splitlines()
        values, labels = [float(line.split(" , ")[1]) for line in lines[1:]], labels_of(name, 10)
        assert kind == "regression" or np.equal(values, labels).mean() == pytest.approx(metrics[name])
        assert low <= min(values) <= max(values) <= high
    text = render(declared)
    assert "stars: accuracy" in text and "mood: Pearson r" in text and "plain mean 0." in text
