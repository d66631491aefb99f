"""Test what a command that trains does before its first trial."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from model.errors import InputError
from model.whole_files import partial_name
from search.launch.run_search import prepare_search
from search.runs.lock import locked
from search.runs.run import Run
from search.runs.search_record import RequestedSettings
from search.session.machines import Machines
from search.session.session import run_command, session
from search.tune import ray_cluster
from search.tune.slots import Slots
from trainers.folder import Folder

SPACE = Path(__file__).parents[3] / "spaces" / "smart.py"
MACHINES = Machines(None, 1, 1.0, 0.0)


@pytest.fixture(autouse=True)
def failing_ray(user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every start of Ray fail, as on a machine that is too busy."""

    @contextmanager
    def fail(address: str | None, dashboard: bool):
        raise InputError("Ray does not start on this machine: it timed out.")
        yield

    monkeypatch.setattr(ray_cluster, "started_ray", fail)
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))


def start(location: Folder, encoder: Path, **changed: object) -> None:
    """Start a search; it fails when Ray is started, if not before."""

    def prepare(slots: Slots):
        values: dict[str, Any] = {"encoder": str(encoder), "rows": 96, **changed}
        requested = RequestedSettings(**values)
        return prepare_search(location, SPACE, requested, False, slots)

    with session(location, MACHINES, prepare):
        raise AssertionError("Ray has started")


def test_a_run_that_a_failed_start_left_is_started_by_the_same_command_and_not_by_another(
    tmp_path: Path, tiny_encoder: Path
):
    location = Folder.at(tmp_path / "my run")
    for _ in range(2):
        with pytest.raises(InputError, match=r"timed out\. The run is ready: .* same command, with --name 'my run'"):
            start(location, tiny_encoder)
        assert Run(location).trials() == []
    for changed in ({"seed": 1}, {"rows": None}, {"dev_rows": 100_000}):
        with pytest.raises(InputError, match=r"Run 'my run' exists with 0 ended trials\. Pass --resume"):
            start(location, tiny_encoder, **changed)


def test_a_run_in_use_is_refused_before_data_are_read_and_ray_starts(tmp_path: Path, tiny_encoder: Path):
    location = Folder.at(tmp_path / "run")
    with pytest.raises(InputError, match="timed out"):
        start(location, tiny_encoder)

    def prepare(slots: Slots):
        raise AssertionError("the run was prepared before its lock was taken")

    with (
        locked(location),
        pytest.raises(InputError, match="Run 'run' is in use by process"),
        session(location, MACHINES, prepare),
    ):
        pass


def test_a_start_deletes_the_unfinished_files_of_killed_processes(tmp_path: Path, tiny_encoder: Path):
    location, run = Folder.at(tmp_path / "run"), tmp_path / "run"
    with pytest.raises(InputError, match="timed out"):
        start(location, tiny_encoder)
    left = [run / partial_name("a.json"), run / "corpus" / partial_name("b")]
    left = [Path(str(path).replace(f".{os.getpid()}-", ".4194305-")) for path in left]  # no process has this number
    kept = [run / partial_name("report.html"), run / "corpus" / "my.partial", run / ".my.partial"]
    for path in left + kept:
        path.write_text("half")
    with pytest.raises(InputError, match="timed out"):
        start(location, tiny_encoder)
    assert [path.exists() for path in left + kept] == [False, False, True, True, True]


@pytest.mark.parametrize("name", ["../escaped", ".", "..", "", "a/b", " a", "a ", "a?b", "a:b", "/tmp/x", "x" * 201])
def test_a_name_that_is_no_name_of_a_run_is_refused_and_nothing_is_written(tmp_path: Path, capsys, name: str):
    with pytest.raises(SystemExit, match="2"), run_command("search.launch", str(tmp_path / "runs"), name, "smart"):
        raise AssertionError("the body was run")
    error = capsys.readouterr().err
    assert error.startswith("Error: --name ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stem", ["smart", "my space?", "über", "../x", "", "x" * 300, "  "])
def test_a_name_that_is_derived_from_a_space_is_the_name_of_a_run(tmp_path: Path, stem: str):
    with run_command("search.launch", str(tmp_path), None, stem) as location:
        assert location.local and location.local.parent == tmp_path
        assert len(location.name.encode()) <= 200


@pytest.mark.parametrize("name", ["a b.c_d-1", "Überlauf", "..a", "x" * 200])
def test_names_of_letters_digits_and_a_few_signs_are_accepted(tmp_path: Path, name: str):
    with run_command("search.launch", str(tmp_path), name, "smart") as location:
        assert location.local == tmp_path / name
