"""The study's storage after a kill, at a URL, and under another run's name."""

import time
from pathlib import Path

import optuna
import pytest

from model.errors import InputError
from search.runs.run import STUDY, Run
from search.runs.study import checked_url, opened_study, study_url
from tests.search.example_run import ExampleTrial, example_run, write_search

KILLED_WRITER_SECONDS = 30
"""So long Optuna waits for a journal's lock before it takes it by force."""


@pytest.fixture
def run(tmp_path: Path, sample_corpus_directory: Path) -> Run:
    return write_search(tmp_path / "run", sample_corpus_directory)


def ask(run: Run, url: str | None = None) -> int:
    """Open the study, start a trial, and close it; return how many there are."""
    with opened_study(run, url) as study:
        study.ask({"dropout": optuna.distributions.FloatDistribution(0, 1)})
        return len(study.get_trials())


@pytest.mark.parametrize("torn", ['{"op_code": 4, "work', "{", "\x00\x00"])
def test_a_journal_whose_last_line_was_cut_short_loses_that_line_only(run: Run, torn: str):
    assert ask(run) == 1
    with open((run.folder.local or Path()) / STUDY, "a") as journal:
        journal.write(torn)
    assert ask(run) == 2
    assert ask(run) == 3, "what was appended to the torn line can be read again"


def test_a_lock_that_a_killed_driver_left_on_the_journal_delays_nobody(run: Run):
    ask(run)
    journal = (run.folder.local or Path()) / STUDY
    journal.with_name(f"{STUDY}.lock").symlink_to(journal)
    started = time.monotonic()
    assert ask(run) == 2
    assert time.monotonic() - started < KILLED_WRITER_SECONDS / 2


def test_what_a_study_at_a_url_has_lost_is_rebuilt_from_the_files(tmp_path: Path, sample_corpus_directory: Path):
    run = example_run(tmp_path / "run", sample_corpus_directory, [ExampleTrial(0), ExampleTrial(1)])
    url = f"sqlite:///{tmp_path}/study.db"
    assert checked_url(url) == url
    assert ask(run, url) == 3
    (tmp_path / "study.db").unlink()
    assert ask(run, url) == 3
    assert not run.folder.exists(STUDY)


def test_a_study_of_the_same_name_that_belongs_to_another_run_is_refused(
    run: Run, tmp_path: Path, sample_corpus_directory: Path
):
    url = f"sqlite:///{tmp_path}/study.db"
    ask(run, url)
    other = write_search(tmp_path / "elsewhere" / "run", sample_corpus_directory, started="2026-02-03T04:05:06+00:00")
    refusal = r"The storage of --study has a study 'run' of another run\. Pass another --name"
    with pytest.raises(InputError, match=refusal):
        ask(other, url)


def test_a_study_that_no_run_has_made_is_refused_unless_it_is_empty(run: Run, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=url, study_name="run", direction="maximize")
    assert ask(run, url) == 1
    other = f"sqlite:///{tmp_path}/other.db"
    optuna.create_study(storage=other, study_name="run", direction="maximize").ask()
    with pytest.raises(InputError, match="The storage of --study has a study 'run' of another run"):
        ask(run, other)


@pytest.mark.parametrize("url", ["nowhere", "nowhere://study", "sqlite:////no/such/directory/study.db"])
def test_a_storage_that_cannot_be_opened_is_refused_in_one_sentence(url: str):
    with pytest.raises(InputError) as raised:
        checked_url(url)
    assert url in str(raised.value) and "\n" not in str(raised.value)


def test_a_password_is_neither_written_down_nor_taken_for_one(tmp_path: Path, sample_corpus_directory: Path):
    url = "postgresql://me:secret@127.0.0.1:1/studies"
    with pytest.raises(InputError) as raised:
        checked_url(url)
    assert "secret" not in str(raised.value)
    run = write_search(tmp_path / "run", sample_corpus_directory, study="postgresql://me:***@127.0.0.1:1/studies")
    assert study_url(run, url) == url
    with pytest.raises(InputError, match="Pass --study again, with the password"):
        study_url(run, None)
