"""Test that only one process at a time drives a run, and that the lock of a dead process blocks no other."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model.errors import InputError
from search.runs import lock
from search.runs.lock import LOCK, STALE_SECONDS, locked
from tests.json_files import read_json
from tests.stores import object_store
from tests.waiting import LIMIT_SECONDS, wait_for
from trainers.command_line import command
from trainers.folder import Folder

ROOT = Path(__file__).parents[3]
HOLD_LOCK = """
import sys
from search.runs.lock import locked
from trainers.folder import Folder
with locked(Folder.at(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    return object_store(tmp_path / "run")


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, store: Folder) -> Folder:
    return store if request.param == "store" else Folder.at(tmp_path / "run")


def test_a_run_in_use_is_an_error_that_names_the_process_that_holds_the_lock(folder: Folder):
    for _ in range(2):
        with locked(folder), pytest.raises(InputError) as raised, locked(folder):
            pass
        assert f"'run' is in use by process {os.getpid()} on " in str(raised.value)


def test_an_exception_releases_the_lock(folder: Folder):
    with pytest.raises(ZeroDivisionError), locked(folder):
        raise ZeroDivisionError
    with locked(folder):
        pass


@pytest.mark.parametrize("name", [LOCK, "rounds", "trials/00001/checkpoints"])
def test_a_run_with_a_link_is_refused_and_no_file_is_touched(tmp_path: Path, name: str):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "run" / name).symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match=f"run/{name} is a symbolic link"), locked(Folder.at(tmp_path / "run")):
        pass
    assert (tmp_path / "mine").read_text() == "mine"
    assert name == LOCK or not (tmp_path / "run" / LOCK).exists()


def test_the_lock_of_a_killed_process_is_released(tmp_path: Path):
    arguments = [sys.executable, "-c", HOLD_LOCK, str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use by process {process.pid} on "), locked(Folder.at(tmp_path)):
            pass
        process.kill()
        process.wait(LIMIT_SECONDS)
        with locked(Folder.at(tmp_path)):
            pass


def test_on_an_object_store_the_lock_is_renewed_and_becomes_void_without_renewal(
    store: Folder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lock, "RENEWAL_SECONDS", 0.01)
    with locked(store):
        first = read_json(store, LOCK)
        wait_for(lambda: read_json(store, LOCK)["renewed"] > first["renewed"])
    assert not store.exists(LOCK)
    store.write_json(LOCK, first | {"renewed": first["renewed"] - STALE_SECONDS - 1})
    with locked(store):
        assert read_json(store, LOCK)["token"] != first["token"]


def test_on_an_object_store_a_command_that_lost_its_lock_ends_with_a_sentence_and_does_not_delete_the_new_lock(
    store: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(lock, "RENEWAL_SECONDS", 0.01)
    other = {"holder": "process 5 on node-7", "token": "another's", "renewed": time.time()}

    def take_lock() -> bool:
        store.write_json(LOCK, other)  # repeatedly: a renewal in progress may overwrite it
        return False

    with pytest.raises(SystemExit) as ended, command("search.ensemble"), locked(store):
        wait_for(take_lock)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "Error: Another process has taken the lock of run 'run': process 5 on node-7.\n"
    assert read_json(store, LOCK) == other
