"""Test reading models' predictions of dev rows from a run."""

import dataclasses

import numpy as np
import pytest

from model.errors import InputError
from search.report.dev_predictions import ensemble_predictions, round_predictions
from tests.search.example_run import ExampleTrial, candidate_file, example_run
from trainers.evaluation.metrics import pearson
from trainers.evaluation.predictions import read_predictions, submission, write_predictions
from trainers.evaluation.scores import predictions
from trainers.tasks import TASKS


@pytest.fixture
def run(tmp_path, sample_corpus_directory):
    return example_run(tmp_path / "example", sample_corpus_directory, [ExampleTrial(0)])


@pytest.mark.parametrize("task", ["sst", "qqp"])
def test_predictions_are_right_as_often_as_the_rounds_metric(run, task):
    trial = run.trials()[0]
    found = round_predictions(trial, 3, TASKS[task], run.corpus().splits[task]["dev"])
    assert found
    assert (found.values == found.labels).mean() == trial.rows[2].metrics[task]
    assert found.confidence.min() >= 1 / max(2, TASKS[task].outputs)


def test_predictions_are_matched_with_labels_by_id_in_any_order_of_the_file(run):
    place, name = candidate_file(run, 0, 3, "sts")
    ids, outputs = read_predictions(place, name)
    write_predictions(place, name, ids[::-1], outputs[::-1])
    dev = run.corpus().splits["sts"]["dev"]
    found = round_predictions(run.trials()[0], 3, TASKS["sts"], dev)
    assert found
    assert np.array_equal(found.labels, dev.labels[found.rows])
    assert float(pearson(found.values[:, None], found.labels)) == pytest.approx(run.trials()[0].rows[2].metrics["sts"])


@pytest.mark.parametrize("task", ["sst", "qqp", "sts"])
def test_the_ensembles_predictions_are_read_from_its_file(run, task):
    kind, dev = TASKS[task].kind, run.corpus().splits[task]["dev"]
    assert ensemble_predictions(run, TASKS[task], dev) is None
    ids, outputs = read_predictions(*candidate_file(run, 0, 3, task))
    name = f"ensemble/predictions/{TASKS[task].submission}-dev-output.csv"
    run.folder.write(name, submission(TASKS[task], ids, predictions(kind, outputs)))
    found = ensemble_predictions(run, TASKS[task], dev)
    of_round = round_predictions(run.trials()[0], 3, TASKS[task], dev)
    assert found
    assert of_round
    assert np.array_equal(found.values.astype(np.float32), np.clip(of_round.values, TASKS[task].low, TASKS[task].high))
    assert np.array_equal(found.labels, of_round.labels)


def test_rows_without_a_label_are_left_out(run):
    dev = run.corpus().splits["sst"]["dev"]
    labels = dev.labels.copy()
    labels[::2] = np.nan
    whole, half = (
        round_predictions(run.trials()[0], 3, TASKS["sst"], dataclasses.replace(dev, labels=values))
        for values in (dev.labels, labels)
    )
    assert whole
    assert half
    assert np.array_equal(half.rows, whole.rows[1::2])
    assert np.array_equal(half.values, whole.values[1::2])
    assert np.array_equal(half.confidence, whole.confidence[1::2])


@pytest.mark.parametrize(
    ("ids", "fault"),
    [([], "it has no rows"), ([""], "the data have no dev row ''"), (["x"], "the data have no dev row 'x'")],
)
def test_a_file_without_rows_or_with_unknown_rows_is_an_error_that_names_it(run, ids, fault):
    place, name = candidate_file(run, 0, 3, "sts")
    write_predictions(place, name, ids, np.full((len(ids), 1), 2.5, np.float32))
    content = "id , value\n" + "".join(f"{identifier} , 2.5\n" for identifier in ids)
    run.folder.write("ensemble/predictions/sts-dev-output.csv", content.encode())
    dev = run.corpus().splits["sts"]["dev"]
    with pytest.raises(InputError, match=f"{name} cannot be used: {fault}"):
        round_predictions(run.trials()[0], 3, TASKS["sts"], dev)
    with pytest.raises(InputError, match=f"sts-dev-output.csv cannot be used: {fault}"):
        ensemble_predictions(run, TASKS["sts"], dev)


def test_a_round_that_did_not_predict_a_task_has_no_predictions(run):
    assert round_predictions(run.trials()[0], 3, TASKS["cfimdb"], run.corpus().splits["cfimdb"]["dev"]) is None
