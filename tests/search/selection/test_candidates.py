"""Test which rounds are candidates for an ensemble, and which are skipped or refused."""

import numpy as np
import pyarrow as pa
import pytest
from optuna.trial import TrialState

from model.errors import InputError
from search.selection.candidates import searched_tasks
from tests.search.declared_run import DECLARED_NAMES, declared_run
from tests.search.example_run import ExampleTrial, candidate_file, example_run
from tests.search.libraries import measured, shortlisted
from tests.trainers.data.corpora import resealed
from tests.trainers.user_data import USER_TASKS
from trainers.evaluation.predictions import read_predictions, write_predictions
from trainers.tasks import TASKS, Task
from trainers.trial import round_name


@pytest.fixture
def run(tmp_path, sample_corpus_directory):
    return example_run(tmp_path / "example", sample_corpus_directory)


def only(*names: str) -> dict[str, Task]:
    """Return some tasks by name."""
    return {name: TASKS[name] for name in names}


def test_every_round_with_weights_is_a_candidate(run):
    for task, found in shortlisted([run], searched_tasks([run])).items():
        kept = [(trial.number, number) for trial, number in run.rounds_with_weights()]
        assert [(name.trial, name.round) for name in found.names] == kept
        rows = {(trial.number, row.round): row.metrics[task] for trial in run.trials() for row in trial.rows}
        np.testing.assert_allclose(found.library.metrics, [rows[key] for key in kept])


def test_predictions_are_aligned_by_row_id(run):
    expected = shortlisted([run], only("sst"))["sst"].library
    for number in (1, 3):
        place, name = candidate_file(run, 0, number, "sst")
        ids, outputs = read_predictions(place, name)
        order = np.random.default_rng(number).permutation(len(ids))
        write_predictions(place, name, [ids[row] for row in order], outputs[order])
    library = shortlisted([run], only("sst"))["sst"].library
    np.testing.assert_array_equal(library.metrics, expected.metrics)
    order = np.lexsort((*library.predictions[-1].T, library.labels))
    ordered = np.lexsort((*expected.predictions[-1].T, expected.labels))
    np.testing.assert_array_equal(library.predictions[:, order], expected.predictions[:, ordered])


def test_candidates_are_scored_by_the_declared_kind_of_the_task(tmp_path):
    run = declared_run(tmp_path / "declared")
    assert list(searched_tasks([run])) == list(run.tasks) == list(DECLARED_NAMES)
    for name, found in shortlisted([run], searched_tasks([run])).items():
        assert found.library.task.kind == USER_TASKS[name][0]
        np.testing.assert_allclose(found.library.metrics, [row.metrics[name] for row in run.trials()[0].rows])


@pytest.mark.parametrize("trial", [0, 1])
def test_a_missing_row_id_is_an_error_that_names_the_id(run, trial):
    place, name = candidate_file(run, trial, 2, "sts")
    ids, outputs = read_predictions(place, name)
    write_predictions(place, name, ids[:7] + ids[8:], np.delete(outputs, 7, axis=0))
    with pytest.raises(InputError, match=f"trial {trial}, round 2.*{ids[7]}"):
        shortlisted([run], only("sts"))


def test_candidates_with_predictions_that_are_not_finite_are_skipped_with_a_note(run):
    place, name = candidate_file(run, 0, 3, "qqp")
    ids, outputs = read_predictions(place, name)
    outputs = outputs.copy()
    outputs[5] = np.nan
    write_predictions(place, name, ids, outputs)
    metrics, found = measured([run], only("sst", "qqp")), shortlisted([run], only("sst", "qqp"))
    assert len(metrics["qqp"].notes) == 1
    assert "trial 0, round 3" in metrics["qqp"].notes[0]
    assert "qqp" in metrics["qqp"].notes[0]
    assert len(found["qqp"].names) == len(found["sst"].names) - 1
    assert not metrics["sst"].notes


def test_a_round_without_weights_is_not_a_candidate(run):
    (run.trial_folder(0) / "checkpoints").delete(round_name(3))
    names = shortlisted([run], only("sst"))["sst"].names
    assert (0, 3) not in [(name.trial, name.round) for name in names]
    assert len(names) == 6


def test_a_run_that_is_given_twice_contributes_its_candidates_once(run):
    assert len(shortlisted([run, run], only("sst"))["sst"].names) == 7


def test_a_run_without_candidates_is_an_error(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "empty", sample_corpus_directory, [ExampleTrial(0, TrialState.FAIL, rounds=0)])
    with pytest.raises(InputError, match="nothing to choose from"):
        shortlisted([run], only("sst"))


def test_different_labels_of_one_row_in_two_runs_are_an_error(run, tmp_path, sample_corpus_directory):
    other = example_run(tmp_path / "other", sample_corpus_directory)
    path = tmp_path / "other" / "corpus" / "sst-dev.arrow"
    batch = pa.ipc.open_file(path.read_bytes()).get_batch(0)
    labels = batch["label"].to_numpy().copy()
    labels[3] = 4 - labels[3] if labels[3] != 2 else 0
    changed = batch.set_column(batch.schema.get_field_index("label"), "label", pa.array(labels))
    with open(path, "wb") as file, pa.ipc.new_file(file, changed.schema) as writer:
        writer.write_batch(changed)
    resealed(path.parent, path.name)
    with pytest.raises(InputError, match=f"{batch['id'][3]}.*another run"):
        shortlisted([run, other], only("sst"))
