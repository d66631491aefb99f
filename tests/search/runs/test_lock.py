"""Two drivers of one run: never at once, and never kept out by a dead one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model.errors import InputError
from search.runs import lock
from search.runs.lock import LOCK, STALE_SECONDS, locked
from tests.search.searching import wait_for
from tests.stores import object_store
from trainers.folder import Folder

ROOT = Path(__file__).parents[3]
HOLDS = """
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


def test_a_run_that_is_driven_is_refused_by_the_name_of_its_driver_until_that_ends(folder: Folder):
    for _ in range(2):
        with locked(folder), pytest.raises(InputError) as raised, locked(folder):
            pass
        assert f"'run' is in use by process {os.getpid()} on " in str(raised.value)


def test_a_driver_that_fails_lets_go(folder: Folder):
    with pytest.raises(ZeroDivisionError), locked(folder):
        raise ZeroDivisionError
    with locked(folder):
        pass


def test_a_driver_that_is_killed_lets_go(tmp_path: Path):
    arguments = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use by process {process.pid} on "), locked(Folder.at(tmp_path)):
            pass
        process.kill()
        process.wait(30)
        with locked(Folder.at(tmp_path)):
            pass


def test_on_a_store_a_lock_is_renewed_and_an_old_one_is_void(store: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lock, "RENEWAL_SECONDS", 0.01)
    with locked(store):
        first = store.read_json(LOCK)
        wait_for(lambda: store.read_json(LOCK)["renewed"] > first["renewed"], 10)
    assert not store.exists(LOCK)
    store.write_json(LOCK, first | {"renewed": first["renewed"] - STALE_SECONDS - 1})
    with locked(store):
        assert store.read_json(LOCK)["token"] != first["token"]


def test_on_a_store_a_driver_whose_lock_was_taken_is_interrupted_and_leaves_the_lock_alone(
    store: Folder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lock, "RENEWAL_SECONDS", 0.01)
    other = {"holder": "another", "token": "another's", "renewed": time.time()}

    def stolen() -> bool:
        store.write_json(LOCK, other)  # again and again: a renewal may just have been under way
        return False

    with pytest.raises(KeyboardInterrupt), locked(store):
        wait_for(stolen, 10)
    assert store.read_json(LOCK) == other
