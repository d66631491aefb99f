"""What models answer on dev rows, read back from a run."""

import dataclasses

import numpy as np
import pytest

from search.report.answers import answers_of_ensemble, answers_of_round
from tests.search.example_run import ExampleTrial, candidate_file, example_run
from trainers.evaluation.predictions import read_predictions, submission, write_predictions
from trainers.evaluation.scores import METRICS, predictions
from trainers.tasks import TASKS


@pytest.fixture
def run(tmp_path, sample_corpus_directory):
    return example_run(tmp_path / "example", sample_corpus_directory, [ExampleTrial(0)])


@pytest.mark.parametrize("task", ["sst", "qqp"])
def test_the_answers_are_right_as_often_as_the_metric_says(run, task):
    trial = run.trials()[0]
    found = answers_of_round(trial, 3, TASKS[task], run.corpus().splits[task]["dev"])
    assert found
    assert (found.values == found.labels).mean() == trial.rows[2]["metrics"][task]
    assert found.confidence.min() >= 1 / max(2, TASKS[task].outputs)


def test_answers_stand_beside_their_own_labels_whatever_the_order_of_the_file(run):
    place, name = candidate_file(run, 0, 3, "sts")
    ids, outputs = read_predictions(place, name)
    write_predictions(place, name, ids[::-1], outputs[::-1])
    dev = run.corpus().splits["sts"]["dev"]
    found = answers_of_round(run.trials()[0], 3, TASKS["sts"], dev)
    assert found
    assert np.array_equal(found.labels, dev.labels[found.rows])
    assert float(METRICS["regression"](found.values[:, None], found.labels)) == pytest.approx(
        run.trials()[0].rows[2]["metrics"]["sts"]
    )


@pytest.mark.parametrize("task", ["sst", "qqp", "sts"])
def test_the_ensembles_answers_are_read_from_its_file(run, task):
    kind, dev = TASKS[task].kind, run.corpus().splits[task]["dev"]
    assert answers_of_ensemble(run, TASKS[task], dev) is None
    ids, outputs = read_predictions(*candidate_file(run, 0, 3, task))
    name = f"ensemble/predictions/{TASKS[task].submission}-dev-output.csv"
    run.folder.write(name, submission(TASKS[task], ids, predictions(kind, outputs)))
    found = answers_of_ensemble(run, TASKS[task], dev)
    alone = answers_of_round(run.trials()[0], 3, TASKS[task], dev)
    assert found
    assert alone
    assert np.array_equal(found.values.astype(np.float32), np.clip(alone.values, TASKS[task].low, TASKS[task].high))
    assert np.array_equal(found.labels, alone.labels)


def test_rows_without_a_label_are_left_out(run):
    dev = run.corpus().splits["sst"]["dev"]
    labels = dev.labels.copy()
    labels[::2] = np.nan
    whole, half = (
        answers_of_round(run.trials()[0], 3, TASKS["sst"], dataclasses.replace(dev, labels=values))
        for values in (dev.labels, labels)
    )
    assert whole
    assert half
    assert np.array_equal(half.rows, whole.rows[1::2])
    assert np.array_equal(half.values, whole.values[1::2])
    assert np.array_equal(half.confidence, whole.confidence[1::2])


def test_a_round_that_did_not_predict_a_task_has_no_answers(run):
    assert answers_of_round(run.trials()[0], 3, TASKS["cfimdb"], run.corpus().splits["cfimdb"]["dev"]) is None
