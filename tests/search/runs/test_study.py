"""Test the storage of a run's study: repairs after a kill, storage URLs, and studies of other runs."""

from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileOpenLock

from model.errors import InputError
from search.runs.run import STUDY, Run
from search.runs.study import checked_url, opened_study, study_url
from tests.search.example_run import ExampleTrial, example_run, write_search

LOCK_WAIT_SECONDS = 3600
"""Time that Optuna waits for the lock of a journal before it removes the lock, in a test that a wait would fail."""


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return write_search(tmp_path / "run", sample_corpus_directory)


def start_trial(run: Run, url: str | None = None) -> int:
    """Open the study, start a trial, and close the study; return the number of trials."""
    with opened_study(run, url) as study:
        study.ask({"dropout": optuna.distributions.FloatDistribution(0, 1)})
        return len(study.get_trials())


@pytest.mark.parametrize("incomplete", ['{"op_code": 4, "work', "{", "\x00\x00"])
def test_a_journal_with_an_incomplete_last_line_loses_only_that_line(run: Run, incomplete: str):
    assert start_trial(run) == 1
    with open((run.folder.local or Path()) / STUDY, "a") as journal:
        journal.write(incomplete)
    assert start_trial(run) == 2
    assert start_trial(run) == 3, "the entry that was appended after the incomplete line is readable"


def test_a_journal_lock_of_a_killed_process_does_not_delay_the_next_process(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(JournalFileOpenLock.__init__, "__defaults__", (LOCK_WAIT_SECONDS,))
    start_trial(run)
    journal = (run.folder.local or Path()) / STUDY
    journal.with_name(f"{STUDY}.lock").touch()
    assert start_trial(run) == 2


def test_a_journal_that_is_a_link_is_refused_and_its_target_unchanged(run: Run, tmp_path: Path):
    (tmp_path / "mine").write_text("unfinished line")
    ((run.folder.local or Path()) / STUDY).symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match=f"{STUDY} is a symbolic link"):
        start_trial(run)
    assert (tmp_path / "mine").read_text() == "unfinished line"


def test_the_locks_of_a_journal_are_no_links(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("os.symlink")
    assert start_trial(run) == 1


def test_a_study_that_was_deleted_from_a_storage_url_is_rebuilt_from_the_trials_files(
    tmp_path: Path, sample_corpus_directory: Path
):
    run = example_run(tmp_path / "run", sample_corpus_directory, [ExampleTrial(0), ExampleTrial(1)])
    url = f"sqlite:///{tmp_path}/study.db"
    assert checked_url(url) == url
    assert start_trial(run, url) == 3
    (tmp_path / "study.db").unlink()
    assert start_trial(run, url) == 3
    assert not run.folder.exists(STUDY)


def test_a_study_with_the_same_name_that_belongs_to_another_run_is_an_error(
    run: Run, tmp_path: Path, sample_corpus_directory: Path
):
    url = f"sqlite:///{tmp_path}/study.db"
    start_trial(run, url)
    other = write_search(tmp_path / "elsewhere" / "run", sample_corpus_directory, started="2026-02-03T04:05:06+00:00")
    message = r"The storage of --study has a study 'run' of another run\. Pass another --name"
    with pytest.raises(InputError, match=message):
        start_trial(other, url)


def test_a_study_that_was_created_outside_the_project_is_an_error_unless_it_is_empty(run: Run, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=url, study_name="run", direction="maximize")
    assert start_trial(run, url) == 1
    other = f"sqlite:///{tmp_path}/other.db"
    optuna.create_study(storage=other, study_name="run", direction="maximize").ask()
    with pytest.raises(InputError, match="The storage of --study has a study 'run' of another run"):
        start_trial(run, other)


@pytest.mark.parametrize("url", ["nowhere", "nowhere://study", "sqlite:////no/such/directory/study.db"])
def test_the_error_for_a_storage_that_cannot_be_opened_is_one_line_with_the_url(url: str):
    with pytest.raises(InputError) as raised:
        checked_url(url)
    assert url in str(raised.value) and "\n" not in str(raised.value)


def test_a_password_is_masked_in_errors_and_a_masked_password_is_not_used(
    tmp_path: Path, sample_corpus_directory: Path
):
    url = "postgresql://me:secret@127.0.0.1:1/studies"
    with pytest.raises(InputError) as raised:
        checked_url(url)
    assert "secret" not in str(raised.value)
    run = write_search(tmp_path / "run", sample_corpus_directory, study="postgresql://me:***@127.0.0.1:1/studies")
    assert study_url(run, url) == url
    with pytest.raises(InputError, match="Pass --study again, with its secrets"):
        study_url(run, None)
