"""Test opening a run directory, on a disk or on an object store, and the table of its trials."""

from pathlib import Path

import pandas
import pytest
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.trial import TrialState

from model.errors import InputError
from search.runs.run import TABLE, Run, write_table
from search.runs.search_record import SEARCH
from tests.json_files import read_json
from tests.search.example_run import ExampleTrial, example_run, write_search, write_trial
from tests.stores import object_store
from trainers.tasks import TASKS

COLUMNS = "trial round state score sst qqp sts loss examples tokens steps train_seconds eval_seconds save_seconds"
MORE_COLUMNS = "ended node error params.lambda_s params.dropout params.batch_schedule"


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return example_run(tmp_path / "runs" / "one", sample_corpus_directory)


@pytest.fixture
def remote(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Copy the run to an object store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = object_store(tmp_path / "remote")
    local = run.folder.local or Path()
    for path in local.rglob("*"):
        if path.is_file():
            folder.write(str(path.relative_to(local)), path.read_bytes())
    return Run(folder)


def rounds_with_weights(run: Run) -> list[tuple[int, int]]:
    return [(trial.number, round) for trial, round in run.rounds_with_weights()]


def test_a_run_can_be_opened_by_its_name_its_path_or_its_uri(run: Run, tmp_path: Path):
    storage = str(tmp_path / "runs")
    for name in ("one", f"{storage}/one", f"file://{storage}/one"):
        assert Run.open(name, storage).search == run.search


def test_the_error_for_a_missing_run_lists_the_runs_that_exist(run: Run, tmp_path: Path):
    fault = f"There is no run 'two': no {SEARCH} was found at this path, or under this name in .*/runs"
    with pytest.raises(InputError, match=f"{fault}. Runs in .*/runs: one\\."):
        Run.open("two", str(tmp_path / "runs"))
    with pytest.raises(InputError, match="none"):
        Run.open("two", str(tmp_path / "elsewhere"))


def test_the_table_has_a_row_per_round_and_one_row_for_a_trial_without_rounds(run: Run):
    write_table(run)
    table = pandas.read_parquet((run.folder.local or Path()) / TABLE)
    assert sorted(table.columns) == sorted(f"{COLUMNS} {MORE_COLUMNS}".split())
    assert table.groupby("trial").size().to_dict() == {0: 3, 1: 3, 2: 1, 3: 1}
    assert table["state"].unique().tolist() == ["COMPLETE", "PRUNED", "FAIL"]
    assert table.loc[table["round"].isna(), "trial"].tolist() == [3]
    assert table["error"].dropna().tolist() == ["the loss is <not> finite"]


def test_a_parameter_with_numbers_and_strings_has_a_column_of_strings(run: Run):
    choices = distribution_to_json(CategoricalDistribution([4, "all", None]))
    for number, value in [(0, 4), (1, "all"), (2, None)]:
        folder = run.trial_folder(number)
        record = read_json(folder, "trial.json")
        record["params"]["layers"], record["distributions"]["layers"] = value, choices
        folder.write_json("trial.json", record)
    write_table(run)
    table = pandas.read_parquet((run.folder.local or Path()) / TABLE)
    assert table.groupby("trial")["params.layers"].first().dropna().to_dict() == {0: "4", 1: "all"}


def test_only_rounds_with_saved_weights_are_listed(run: Run, tmp_path: Path, sample_corpus_directory: Path):
    (run.folder / "trials" / "00000" / "checkpoints").delete("00002")
    assert rounds_with_weights(run) == [(0, 1), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1)]
    assert rounds_with_weights(write_search(tmp_path / "empty", sample_corpus_directory)) == []


def test_a_run_on_an_object_store_reads_the_same_as_its_copy_on_a_disk(run: Run, remote: Run):
    pandas.testing.assert_frame_equal(remote.table(), run.table())
    assert rounds_with_weights(remote) == rounds_with_weights(run)
    assert remote.corpus().fingerprint == run.corpus().fingerprint == remote.search.fingerprint
    write_trial(remote, ExampleTrial(4, TrialState.PRUNED, rounds=2))
    write_table(remote)
    with remote.folder.filesystem.open_input_file(f"{remote.folder.path}/{TABLE}") as file:
        assert pandas.read_parquet(file)["trial"].tolist().count(4) == 2


def test_the_tasks_of_a_run_can_be_read_without_the_rows_of_its_data(tmp_path: Path, sample_corpus_directory: Path):
    run = write_search(tmp_path / "sample", sample_corpus_directory)
    for name in (run.folder / "corpus").names():
        if name.endswith(".arrow"):
            (run.folder / "corpus").delete(name)
    assert run.tasks == TASKS
