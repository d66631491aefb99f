"""Test the files of a trial that was killed in the middle of a round, and of a trial that ended."""

from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.trial import TrialState

from search.runs.trial_record import TRIAL, clear_ended_trial, end_trial, read_trial
from tests.json_files import read_json
from tests.search.example_run import ExampleTrial, example_run
from trainers.folder import Folder
from trainers.trial import CHECKPOINTS, PREDICTIONS, ROUNDS, round_name


@pytest.fixture
def folder(tmp_path: Path, sample_corpus_directory: Path) -> Folder:
    return example_run(tmp_path / "run", sample_corpus_directory, [ExampleTrial(0)]).trial_folder(0)


def test_a_row_that_was_cut_off_is_ignored_and_the_later_of_two_rows_of_a_round_counts(folder: Folder):
    path = (folder.local or Path()) / ROUNDS
    complete = path.read_text()
    path.write_text(complete[:-1])
    assert [row.round for row in read_trial(folder).rows] == [1, 2]
    path.write_text(complete + complete.splitlines()[0].replace('"steps": 16', '"steps": 17') + "\n")
    assert [row.steps for row in read_trial(folder).rows] == [17, 32, 48]


def test_parameters_of_older_runs_that_no_storage_keeps_are_read_as_text(folder: Folder):
    record, choices = read_json(folder, TRIAL), [[], [0.5, 0.25], "a", 2**70]
    with pytest.warns(UserWarning, match="Choices for a categorical distribution"):
        text = distribution_to_json(CategoricalDistribution(choices))  # pyright: ignore[reportArgumentType]
    record["params"] |= {"hidden": [0.5, 0.25]}
    record["distributions"] |= {"hidden": text}
    folder.write_json(TRIAL, record)
    trial = read_trial(folder)
    assert trial.params["hidden"] == "[0.5, 0.25]"
    assert trial.optuna_distributions["hidden"] == CategoricalDistribution(["[]", "[0.5, 0.25]", "a", str(2**70)])


def test_a_reason_with_text_that_utf_8_cannot_encode_is_written_with_escapes(folder: Folder):
    end_trial(folder, TrialState.FAIL, None, "no \ud800")
    assert read_trial(folder).reason == "no \\ud800"


def test_training_states_and_files_of_unfinished_rounds_are_deleted_when_a_trial_ends(folder: Folder):
    before = {name: (folder / name).names() for name in (CHECKPOINTS, PREDICTIONS)}
    (folder / CHECKPOINTS / round_name(7)).write(".state.pt.1.partial", b"half")
    (folder / PREDICTIONS).write(f"{round_name(7)}-sst.parquet", b"of no row")
    end_trial(folder, TrialState.FAIL, None, "the worker process of the trial was lost")
    clear_ended_trial(folder)
    assert {name: (folder / name).names() for name in before} == before
