"""Which rounds may join an ensemble, and what keeps one out."""

import numpy as np
import pyarrow as pa
import pytest
from optuna.trial import TrialState

from model.errors import InputError
from search.selection.candidates import searched_tasks
from tests.search.example_run import ExampleTrial, candidate_file, example_run
from tests.search.libraries import measured, shortlisted
from trainers.evaluation.predictions import read_predictions, write_predictions
from trainers.tasks import TASKS, Task
from trainers.trial import round_name


@pytest.fixture
def run(tmp_path, sample_corpus_directory):
    return example_run(tmp_path / "example", sample_corpus_directory)


def only(*names: str) -> dict[str, Task]:
    return {name: TASKS[name] for name in names}


def test_candidates_are_all_kept_rounds_of_all_trials(run):
    for task, found in shortlisted([run], searched_tasks([run])).items():
        kept = [(trial.number, number) for trial, number in run.kept()]
        assert [(name.trial, name.round) for name in found.names] == kept
        rows = {(trial.number, row.round): row.metrics[task] for trial in run.trials() for row in trial.rows}
        np.testing.assert_allclose(found.library.metrics, [rows[key] for key in kept])


def test_candidates_are_aligned_by_id(run):
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


@pytest.mark.parametrize("trial", [0, 1])
def test_a_missing_id_is_an_error_that_names_it(run, trial):
    place, name = candidate_file(run, trial, 2, "sts")
    ids, outputs = read_predictions(place, name)
    write_predictions(place, name, ids[:7] + ids[8:], np.delete(outputs, 7, axis=0))
    with pytest.raises(InputError, match=f"trial {trial}, round 2.*{ids[7]}"):
        shortlisted([run], only("sts"))


def test_candidates_that_are_not_finite_are_left_out_and_named(run):
    place, name = candidate_file(run, 0, 3, "qqp")
    ids, outputs = read_predictions(place, name)
    outputs = outputs.copy()
    outputs[5] = np.nan
    write_predictions(place, name, ids, outputs)
    stand, found = measured([run], only("sst", "qqp")), shortlisted([run], only("sst", "qqp"))
    assert len(stand["qqp"].notes) == 1
    assert "trial 0, round 3" in stand["qqp"].notes[0]
    assert "qqp" in stand["qqp"].notes[0]
    assert len(found["qqp"].names) == len(found["sst"].names) - 1
    assert not stand["sst"].notes


def test_a_round_without_weights_is_no_candidate(run):
    (run.trial_folder(0) / "checkpoints").delete(round_name(3))
    names = shortlisted([run], only("sst"))["sst"].names
    assert (0, 3) not in [(name.trial, name.round) for name in names]
    assert len(names) == 6


def test_a_run_given_twice_has_its_candidates_once(run):
    assert len(shortlisted([run, run], only("sst"))["sst"].names) == 7


def test_without_candidates_there_is_nothing_to_choose_from(tmp_path, sample_corpus_directory):
    run = example_run(tmp_path / "empty", sample_corpus_directory, [ExampleTrial(0, TrialState.FAIL, rounds=0)])
    with pytest.raises(InputError, match="nothing to choose from"):
        shortlisted([run], only("sst"))


def test_labels_on_which_runs_disagree_are_an_error(run, tmp_path, sample_corpus_directory):
    other = example_run(tmp_path / "other", sample_corpus_directory)
    path = tmp_path / "other" / "corpus" / "sst-dev.arrow"
    batch = pa.ipc.open_file(path.read_bytes()).get_batch(0)
    labels = batch["label"].to_numpy().copy()
    labels[3] = 4 - labels[3] if labels[3] != 2 else 0
    changed = batch.set_column(batch.schema.get_field_index("label"), "label", pa.array(labels))
    with open(path, "wb") as file, pa.ipc.new_file(file, changed.schema) as writer:
        writer.write_batch(changed)
    with pytest.raises(InputError, match=f"{batch['id'][3]}.*another run"):
        shortlisted([run, other], only("sst"))
