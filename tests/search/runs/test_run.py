"""A run directory, read back: where it lies, what it holds, and what a kill may have left of it."""

from pathlib import Path

import pandas
import pytest
from optuna.trial import TrialState

from model.errors import InputError
from search.runs.run import TABLE, Run, write_table
from search.runs.search_record import SEARCH
from search.runs.trial_record import clear_ended_trial, end_trial
from tests.search.example_run import ExampleTrial, example_run, write_search, write_trial
from tests.stores import object_store
from trainers.tasks import TASKS
from trainers.trial import CHECKPOINTS, PREDICTIONS, ROUNDS, round_name

COLUMNS = "trial round state score sst qqp sts loss examples tokens steps train_seconds eval_seconds save_seconds"
MORE_COLUMNS = "ended node error params.lambda_s params.dropout params.batch_schedule"


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return example_run(tmp_path / "runs" / "one", sample_corpus_directory)


@pytest.fixture
def far(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Copy the run onto a store that is no disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = object_store(tmp_path / "far")
    here = run.folder.local or Path()
    for path in here.rglob("*"):
        if path.is_file():
            folder.write(str(path.relative_to(here)), path.read_bytes())
    return Run(folder)


def rounds_with_weights(run: Run) -> list[tuple[int, int]]:
    return [(trial.number, round) for trial, round in run.rounds_with_weights()]


def test_a_run_is_opened_by_its_name_its_path_or_its_uri(run: Run, tmp_path: Path):
    storage = str(tmp_path / "runs")
    for name in ("one", f"{storage}/one", f"file://{storage}/one"):
        assert Run.open(name, storage).search == run.search


def test_the_error_for_a_missing_run_lists_the_runs_that_exist(run: Run, tmp_path: Path):
    fault = f"There is no run 'two': no {SEARCH} was found at this path, or under this name in .*/runs"
    with pytest.raises(InputError, match=f"{fault}. Runs in .*/runs: one\\."):
        Run.open("two", str(tmp_path / "runs"))
    with pytest.raises(InputError, match="none"):
        Run.open("two", str(tmp_path / "elsewhere"))


def test_the_table_has_a_row_for_every_round_and_one_for_a_trial_without(run: Run):
    write_table(run)
    table = pandas.read_parquet((run.folder.local or Path()) / TABLE)
    assert sorted(table.columns) == sorted(f"{COLUMNS} {MORE_COLUMNS}".split())
    assert table.groupby("trial").size().to_dict() == {0: 3, 1: 3, 2: 1, 3: 1}
    assert table["state"].unique().tolist() == ["COMPLETE", "PRUNED", "FAIL"]
    assert table.loc[table["round"].isna(), "trial"].tolist() == [3]
    assert table["error"].dropna().tolist() == ["the loss is <not> finite"]


def test_a_parameter_that_is_a_number_here_and_a_word_there_still_has_a_column(run: Run):
    for number, value in [(0, 4), (1, "all"), (2, None)]:
        folder = run.trial_folder(number)
        record = folder.read_json("trial.json")
        folder.write_json("trial.json", record | {"params": record["params"] | {"layers": value}})
    write_table(run)
    table = pandas.read_parquet((run.folder.local or Path()) / TABLE)
    assert table.groupby("trial")["params.layers"].first().dropna().to_dict() == {0: "4", 1: "all"}


def test_a_round_that_was_not_wholly_recorded_does_not_exist_and_of_two_the_later_counts(run: Run):
    path = (run.folder.local or Path()) / "trials" / "00000" / ROUNDS
    whole = path.read_text()
    path.write_text(whole[:-1])
    assert [row.round for row in run.trials()[0].rows] == [1, 2]
    path.write_text(whole + whole.splitlines()[0].replace('"steps": 16', '"steps": 17') + "\n")
    assert [row.steps for row in Run(run.folder).trials()[0].rows] == [17, 32, 48]


def test_a_trial_that_ends_leaves_neither_full_states_nor_files_of_a_round_that_it_did_not_finish(run: Run):
    trial = run.trials()[0]
    before = {name: (trial.folder / name).names() for name in (CHECKPOINTS, PREDICTIONS)}
    (trial.folder / CHECKPOINTS / round_name(7)).write(".state.pt.1.partial", b"half")
    (trial.folder / PREDICTIONS).write(f"{round_name(7)}-sst.parquet", b"of no row")
    end_trial(trial.folder, TrialState.FAIL, None, "its worker was lost")
    clear_ended_trial(trial.folder)
    assert {name: (trial.folder / name).names() for name in before} == before


def test_only_finite_rounds_with_weights_are_kept(run: Run, tmp_path: Path, sample_corpus_directory: Path):
    (run.folder / "trials" / "00000" / "checkpoints").delete("00002")
    assert rounds_with_weights(run) == [(0, 1), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1)]
    assert rounds_with_weights(write_search(tmp_path / "empty", sample_corpus_directory)) == []


def test_a_run_on_a_store_reads_like_one_on_a_disk(run: Run, far: Run):
    pandas.testing.assert_frame_equal(far.table(), run.table())
    assert rounds_with_weights(far) == rounds_with_weights(run)
    assert far.corpus().fingerprint == run.corpus().fingerprint == far.search.fingerprint
    write_trial(far, ExampleTrial(4, TrialState.PRUNED, rounds=2))
    write_table(far)
    with far.folder.filesystem.open_input_file(f"{far.folder.path}/{TABLE}") as file:
        assert pandas.read_parquet(file)["trial"].tolist().count(4) == 2


def test_the_tasks_of_a_run_are_read_without_its_rows(tmp_path: Path, sample_corpus_directory: Path):
    run = write_search(tmp_path / "sample", sample_corpus_directory)
    for name in (run.folder / "corpus").names():
        if name.endswith(".arrow"):
            (run.folder / "corpus").delete(name)
    assert run.tasks == TASKS
