"""Test reading the ended trials of earlier runs and studies."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from model.errors import InputError
from search.suggest.earlier_searches import read_earlier_searches, shown_source
from tests.search.example_run import ExampleTrial, example_run
from tests.search.suggest.earlier_trials import earlier_trial, write_study


def test_failed_and_running_trials_of_a_run_are_not_read(tmp_path: Path, sample_corpus_directory: Path):
    states = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING, TrialState.COMPLETE)
    trials = [ExampleTrial(number, state) for number, state in enumerate(states)]
    run = example_run(tmp_path / "first", sample_corpus_directory, trials)
    for given in ("first", str(tmp_path / "first"), f"file://{tmp_path}/first"):
        (read,) = read_earlier_searches([given, given], str(tmp_path))
        assert [trial.number for trial in read.trials] == [0, 3]
        assert [trial.params for trial in read.trials] == [run.trials()[number].params for number in (0, 3)]
        assert (read.directions, read.search) == ([StudyDirection.MAXIMIZE], run.search)


PLACES: dict[str, Callable[[Path], str]] = {
    "database": lambda place: f"sqlite:///{place}/study.db",
    "journal": lambda place: f"{place}/study.journal",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_study_is_found_by_its_storage_and_its_name_if_the_storage_holds_several(
    tmp_path: Path, place: Callable[[Path], str]
):
    given = write_study(place(tmp_path), earlier_trial(0.25), earlier_trial(None, TrialState.RUNNING))
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    (read,) = read_earlier_searches([given], "runs")
    assert ([trial.value for trial in read.trials], read.search) == ([0.25], None)
    assert [path.name for path in tmp_path.iterdir()] == [file.name] and file.read_bytes() == before
    write_study(given, earlier_trial(0.75), name="new")
    with pytest.raises(InputError, match=r"holds 2 studies. Write .*#NAME: (old, new|new, old)\."):
        read_earlier_searches([given], "runs")
    assert [read_earlier_searches([f"{given}#{name}"], "runs")[0].trials[0].value for name in ("old", "new")] == [
        0.25,
        0.75,
    ]
    with pytest.raises(InputError, match="'nwe'; did you mean 'new'"):
        read_earlier_searches([f"{given}#nwe"], "runs")


def test_a_source_that_is_neither_run_nor_study_is_an_error_and_creates_no_file(tmp_path: Path):
    (tmp_path / "text").write_text("no journal\n")
    for given in ("nothing", f"sqlite:///{tmp_path}/no.db", f"{tmp_path}/text", "postgresql://me:secret@127.0.0.1:1/s"):
        with pytest.raises(InputError) as raised:
            read_earlier_searches([given], str(tmp_path))
        assert (
            shown_source(given) in str(raised.value)
            and "secret" not in str(raised.value)
            and "\n" not in str(raised.value)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("postgresql://me:se#cret@host/db#old", "postgresql://me:***@host/db#old"),
        ("postgresql://host/db?password=secret#old", "postgresql://host/db?password=***#old"),
        ("s3://KEY:secret@bucket/runs/first", "s3://KEY:***@bucket/runs/first"),
        ("sqlite:///a@b:c.db#me@home", "sqlite:///a@b:c.db#me@home"),
        ("runs/a?password=b", "runs/a?password=b"),
    ],
)
def test_a_source_is_shown_and_recorded_without_its_secrets(source: str, expected: str):
    assert shown_source(source) == expected


@pytest.mark.parametrize("source", ["postgresql://me:secret@host:port/db", "s3://KEY:se/cret@bucket/runs"])
def test_a_url_with_an_impossible_port_or_key_is_an_input_error_without_secrets(source: str):
    with pytest.raises(InputError) as raised:
        read_earlier_searches([source], "runs")
    assert "cret" not in str(raised.value)
